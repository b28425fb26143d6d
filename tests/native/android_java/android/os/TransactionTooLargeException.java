package android.os;

public class TransactionTooLargeException extends Exception {
    public TransactionTooLargeException(String message) {
        super(message);
    }
}
