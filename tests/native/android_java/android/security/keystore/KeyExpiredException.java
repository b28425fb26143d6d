package android.security.keystore;

import java.security.InvalidKeyException;

public class KeyExpiredException extends InvalidKeyException {
    public KeyExpiredException(String message) {
        super(message);
    }
}
