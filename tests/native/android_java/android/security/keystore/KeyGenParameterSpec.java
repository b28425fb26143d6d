package android.security.keystore;

import java.security.spec.AlgorithmParameterSpec;

public final class KeyGenParameterSpec implements AlgorithmParameterSpec {
    private final String alias;
    private final int purposes;
    private String[] blockModes = {};
    private String[] paddings = {};
    private int keySize = -1;
    private boolean randomized = true;
    private boolean strongBox;
    private boolean unlockedDevice;
    private boolean authentication;
    private int seconds = -1;
    private int authenticators;
    private boolean invalidatedByEnrolment = true;

    private KeyGenParameterSpec(String alias, int purposes) {
        this.alias = alias;
        this.purposes = purposes;
    }

    public String getKeystoreAlias() {
        return alias;
    }

    public int getPurposes() {
        return purposes;
    }

    public String[] getBlockModes() {
        return blockModes;
    }

    public String[] getEncryptionPaddings() {
        return paddings;
    }

    public int getKeySize() {
        return keySize;
    }

    public boolean isRandomizedEncryptionRequired() {
        return randomized;
    }

    public boolean isStrongBoxBacked() {
        return strongBox;
    }

    public boolean isUnlockedDeviceRequired() {
        return unlockedDevice;
    }

    public boolean isUserAuthenticationRequired() {
        return authentication;
    }

    public int getUserAuthenticationValidityDurationSeconds() {
        return seconds;
    }

    public int getUserAuthenticationType() {
        return authenticators;
    }

    public boolean isInvalidatedByBiometricEnrollment() {
        return invalidatedByEnrolment;
    }

    public static final class Builder {
        private final KeyGenParameterSpec spec;

        public Builder(String keystoreAlias, int purposes) {
            if (keystoreAlias == null || keystoreAlias.isEmpty()) {
                throw new IllegalArgumentException("keystoreAlias must not be empty");
            }
            spec = new KeyGenParameterSpec(keystoreAlias, purposes);
        }

        public Builder setBlockModes(String... blockModes) {
            spec.blockModes = blockModes;
            return this;
        }

        public Builder setEncryptionPaddings(String... paddings) {
            spec.paddings = paddings;
            return this;
        }

        public Builder setKeySize(int keySize) {
            spec.keySize = keySize;
            return this;
        }

        public Builder setRandomizedEncryptionRequired(boolean required) {
            spec.randomized = required;
            return this;
        }

        public Builder setIsStrongBoxBacked(boolean isStrongBoxBacked) {
            spec.strongBox = isStrongBoxBacked;
            return this;
        }

        public Builder setUnlockedDeviceRequired(boolean unlockedDeviceRequired) {
            spec.unlockedDevice = unlockedDeviceRequired;
            return this;
        }

        public Builder setUserAuthenticationRequired(boolean required) {
            spec.authentication = required;
            return this;
        }

        public Builder setUserAuthenticationParameters(int timeout, int type) {
            spec.seconds = timeout;
            spec.authenticators = type;
            return this;
        }

        public Builder setInvalidatedByBiometricEnrollment(boolean invalidateKey) {
            spec.invalidatedByEnrolment = invalidateKey;
            return this;
        }

        public KeyGenParameterSpec build() {
            return spec;
        }
    }
}
