package org.tokenkeep.lab;

import android.security.keystore.KeyGenParameterSpec;
import android.security.keystore.KeyInfo;
import android.security.keystore.KeyPermanentlyInvalidatedException;
import android.security.keystore.StrongBoxUnavailableException;
import android.security.keystore.UserNotAuthenticatedException;
import java.io.InputStream;
import java.io.OutputStream;
import java.security.InvalidAlgorithmParameterException;
import java.security.InvalidKeyException;
import java.security.Key;
import java.security.KeyStoreException;
import java.security.KeyStoreSpi;
import java.security.Provider;
import java.security.SecureRandom;
import java.security.Security;
import java.security.cert.Certificate;
import java.security.spec.AlgorithmParameterSpec;
import java.security.spec.InvalidKeySpecException;
import java.security.spec.KeySpec;
import java.util.Arrays;
import java.util.Collections;
import java.util.Date;
import java.util.Enumeration;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import javax.crypto.KeyGeneratorSpi;
import javax.crypto.SecretKey;
import javax.crypto.SecretKeyFactorySpi;

/** AndroidKeyStore over the device's directory: keys without bytes, no nonces from callers. */
public final class LabProvider extends Provider {
    private LabProvider() {
        super("AndroidKeyStore", "1.0", "the lab's Keystore");
        put("KeyStore.AndroidKeyStore", Store.class.getName());
        put("KeyGenerator.AES", Generator.class.getName());
        put("SecretKeyFactory.AES", Factory.class.getName());
    }

    static synchronized void install() {
        if (Security.getProvider("AndroidKeyStore") != null) return;
        Security.addProvider(new LabProvider());
        // The ciphers live in a provider of their own that comes first, as on Android.
        Security.insertProviderAt(new LabCiphers.Workaround(), 1);
    }

    /** A key that only this provider can use. */
    static class LabKey implements SecretKey {
        final String alias;
        final String algorithm;

        LabKey(String alias, String algorithm) {
            this.alias = alias;
            this.algorithm = algorithm;
        }

        @Override
        public String getAlgorithm() {
            return algorithm;
        }

        @Override
        public String getFormat() {
            return null;
        }

        @Override
        public byte[] getEncoded() {
            return null;
        }
    }

    static final class LabPrivateKey extends LabKey implements java.security.PrivateKey {
        LabPrivateKey(String alias) {
            super(alias, "RSA");
        }
    }

    /** The key's bytes, if the device lets it be used now. */
    static byte[] usable(LabKey key) throws InvalidKeyException {
        Properties found = Device.key(key.alias);
        if (found == null) throw new InvalidKeyException("hunter2: no such key");
        if (found.containsKey("invalidated")) {
            throw new KeyPermanentlyInvalidatedException("hunter2");
        }
        if (Device.isLocked && found.getProperty("unlocked", "").equals("true")) {
            Faults.inject(
                    "locked", "java.security.InvalidKeyException<"
                            + "android.security.KeyStoreException(2,-72)", 1);
            Faults.at("locked");
        }
        int seconds = Integer.parseInt(found.getProperty("seconds", "-1"));
        long age = System.nanoTime() - Device.authenticatedAt;
        boolean isFresh = Device.authenticatedAt != Long.MIN_VALUE && age < seconds * 1_000_000_000L;
        if (seconds > 0 && !isFresh) throw new UserNotAuthenticatedException("hunter2");
        return Device.bytes(found.getProperty("encoded"));
    }

    static boolean isForEachUse(LabKey key) {
        Properties found = Device.key(key.alias);
        return found != null && found.getProperty("seconds", "-1").equals("0");
    }

    public static final class Generator extends KeyGeneratorSpi {
        private KeyGenParameterSpec spec;

        @Override
        protected void engineInit(SecureRandom random) {
            throw new UnsupportedOperationException("a KeyGenParameterSpec is needed");
        }

        @Override
        protected void engineInit(int keySize, SecureRandom random) {
            throw new UnsupportedOperationException("a KeyGenParameterSpec is needed");
        }

        @Override
        protected void engineInit(AlgorithmParameterSpec given, SecureRandom random)
                throws InvalidAlgorithmParameterException {
            if (!(given instanceof KeyGenParameterSpec)) {
                throw new InvalidAlgorithmParameterException("a KeyGenParameterSpec is needed");
            }
            spec = (KeyGenParameterSpec) given;
            if (!Arrays.asList(spec.getBlockModes()).contains("GCM")
                    || !Arrays.asList(spec.getEncryptionPaddings()).contains("NoPadding")
                    || spec.getPurposes() != 3) {
                throw new InvalidAlgorithmParameterException("not a key for AES-GCM");
            }
        }

        @Override
        protected SecretKey engineGenerateKey() {
            Faults.at("generateKey");
            if (spec.isStrongBoxBacked() && !Device.hasStrongBox) {
                throw new StrongBoxUnavailableException("hunter2");
            }
            byte[] bytes = new byte[spec.getKeySize() / 8];
            new SecureRandom().nextBytes(bytes);
            int level = spec.isStrongBoxBacked() ? 2 : Device.hasHardware ? 1 : 0;
            Map<String, String> key = new TreeMap<>();
            key.put("algorithm", "AES");
            key.put("encoded", Device.hex(bytes));
            key.put("level", String.valueOf(Device.lies ? 0 : level));
            key.put("unlocked", String.valueOf(spec.isUnlockedDeviceRequired()));
            key.put("randomized", String.valueOf(spec.isRandomizedEncryptionRequired()));
            key.put("enrolment", String.valueOf(spec.isInvalidatedByBiometricEnrollment()));
            key.put("authenticators", String.valueOf(spec.getUserAuthenticationType()));
            if (spec.isUserAuthenticationRequired()) {
                int seconds = spec.getUserAuthenticationValidityDurationSeconds();
                key.put("seconds", String.valueOf(seconds));
            }
            Device.keep(spec.getKeystoreAlias(), key);
            return new LabKey(spec.getKeystoreAlias(), "AES");
        }
    }

    public static final class Factory extends SecretKeyFactorySpi {
        @Override
        protected KeySpec engineGetKeySpec(SecretKey key, Class<?> kind)
                throws InvalidKeySpecException {
            Faults.at("getKeySpec");
            if (!(key instanceof LabKey) || kind != KeyInfo.class) {
                throw new InvalidKeySpecException("only KeyInfo of a Keystore key");
            }
            Properties found = Device.key(((LabKey) key).alias);
            return new KeyInfo(Integer.parseInt(found.getProperty("level", "1")));
        }

        @Override
        protected SecretKey engineGenerateSecret(KeySpec spec) {
            throw new UnsupportedOperationException();
        }

        @Override
        protected SecretKey engineTranslateKey(SecretKey key) {
            throw new UnsupportedOperationException();
        }
    }

    public static final class Store extends KeyStoreSpi {
        @Override
        public Key engineGetKey(String alias, char[] password) {
            Faults.at("getKey");
            Properties found = Device.key(alias);
            if (found == null) return null;
            boolean isAes = found.getProperty("algorithm").equals("AES");
            return isAes ? new LabKey(alias, "AES") : new LabPrivateKey(alias);
        }

        @Override
        public boolean engineContainsAlias(String alias) {
            Faults.at("containsAlias");
            return Device.key(alias) != null;
        }

        @Override
        public void engineDeleteEntry(String alias) {
            Faults.at("deleteEntry");
            Device.fileOf(alias).delete();
        }

        @Override
        public void engineLoad(InputStream stream, char[] password) {
            if (stream != null) throw new IllegalArgumentException("InputStream not supported");
        }

        @Override
        public Enumeration<String> engineAliases() {
            return Collections.enumeration(Arrays.asList(Device.aliases()));
        }

        @Override
        public Certificate[] engineGetCertificateChain(String alias) {
            return null;
        }

        @Override
        public Certificate engineGetCertificate(String alias) {
            return null;
        }

        @Override
        public Date engineGetCreationDate(String alias) {
            return new Date();
        }

        @Override
        public void engineSetKeyEntry(String a, Key k, char[] p, Certificate[] c)
                throws KeyStoreException {
            throw new KeyStoreException("not here");
        }

        @Override
        public void engineSetKeyEntry(String a, byte[] k, Certificate[] c)
                throws KeyStoreException {
            throw new KeyStoreException("not here");
        }

        @Override
        public void engineSetCertificateEntry(String a, Certificate c) throws KeyStoreException {
            throw new KeyStoreException("not here");
        }

        @Override
        public int engineSize() {
            return Device.aliases().length;
        }

        @Override
        public boolean engineIsKeyEntry(String alias) {
            return engineContainsAlias(alias);
        }

        @Override
        public boolean engineIsCertificateEntry(String alias) {
            return false;
        }

        @Override
        public String engineGetCertificateAlias(Certificate certificate) {
            return null;
        }

        @Override
        public void engineStore(OutputStream stream, char[] password) {
            throw new UnsupportedOperationException();
        }
    }
}
