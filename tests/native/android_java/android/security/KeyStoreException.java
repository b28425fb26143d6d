package android.security;

public class KeyStoreException extends Exception {
    private final boolean saysCodes;
    private final int publicCode;
    private final int internalCode;

    /** As it is before Android 13: the text is all that it says. */
    KeyStoreException(String message) {
        super(message);
        this.saysCodes = false;
        this.publicCode = 0;
        this.internalCode = 0;
    }

    KeyStoreException(int publicCode, int internalCode, String message) {
        super(message);
        this.saysCodes = true;
        this.publicCode = publicCode;
        this.internalCode = internalCode;
    }

    public int getNumericErrorCode() {
        return publicCode;
    }

    @Override
    public String toString() {
        if (!saysCodes) return super.toString();
        return super.toString()
                + String.format(
                        " (public error code: %d internal Keystore code: %d)",
                        publicCode, internalCode);
    }
}
