package android.security;

public class KeyStoreException extends Exception {
    private final int publicCode;
    private final int internalCode;

    KeyStoreException(int publicCode, int internalCode, String message) {
        super(message);
        this.publicCode = publicCode;
        this.internalCode = internalCode;
    }

    public int getNumericErrorCode() {
        return publicCode;
    }

    @Override
    public String toString() {
        return super.toString()
                + String.format(
                        " (public error code: %d internal Keystore code: %d)",
                        publicCode, internalCode);
    }
}
