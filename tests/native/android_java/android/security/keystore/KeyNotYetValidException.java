package android.security.keystore;

import java.security.InvalidKeyException;

public class KeyNotYetValidException extends InvalidKeyException {
    public KeyNotYetValidException(String message) {
        super(message);
    }
}
