package android.security.keystore;

import java.security.ProviderException;

public class StrongBoxUnavailableException extends ProviderException {
    public StrongBoxUnavailableException(String message) {
        super(message);
    }
}
