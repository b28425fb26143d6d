package android.security.keystore;

import java.security.spec.KeySpec;

public class KeyInfo implements KeySpec {
    private final int securityLevel;

    /** Hidden on Android; the stand-in's factory is in another package. */
    public KeyInfo(int securityLevel) {
        this.securityLevel = securityLevel;
    }

    public int getSecurityLevel() {
        return securityLevel;
    }

    public boolean isInsideSecureHardware() {
        return securityLevel != KeyProperties.SECURITY_LEVEL_SOFTWARE;
    }
}
