package org.tokenkeep.lab;

import android.security.keystore.UserNotAuthenticatedException;
import java.security.AlgorithmParameters;
import java.security.GeneralSecurityException;
import java.security.InvalidAlgorithmParameterException;
import java.security.InvalidKeyException;
import java.security.Key;
import java.security.KeyFactory;
import java.security.NoSuchAlgorithmException;
import java.security.Provider;
import java.security.SecureRandom;
import java.security.spec.AlgorithmParameterSpec;
import java.security.spec.PKCS8EncodedKeySpec;
import javax.crypto.BadPaddingException;
import javax.crypto.Cipher;
import javax.crypto.CipherSpi;
import javax.crypto.IllegalBlockSizeException;
import javax.crypto.ShortBufferException;
import javax.crypto.spec.SecretKeySpec;

/** The Keystore's ciphers: the JDK's own, with keys that only the device has. */
final class LabCiphers {
    private LabCiphers() {}

    static final class Workaround extends Provider {
        Workaround() {
            super("AndroidKeyStoreBCWorkaround", "1.0", "the lab's ciphers");
            String keys = LabProvider.LabKey.class.getName();
            put("Cipher.AES/GCM/NoPadding", Gcm.class.getName());
            put("Cipher.AES/GCM/NoPadding SupportedKeyClasses", keys);
            put("Cipher.RSA/ECB/PKCS1Padding", Pkcs1.class.getName());
            put("Cipher.RSA/ECB/OAEPPadding", Oaep.class.getName());
        }
    }

    abstract static class Delegating extends CipherSpi {
        private final String transformation;
        Cipher real;
        boolean needsPerson;

        Delegating(String transformation) {
            this.transformation = transformation;
        }

        abstract Key raw(LabProvider.LabKey key) throws GeneralSecurityException;

        void begin(int mode, Key key, AlgorithmParameterSpec spec)
                throws InvalidKeyException, InvalidAlgorithmParameterException {
            Faults.at("init");
            if (!(key instanceof LabProvider.LabKey)) {
                throw new InvalidKeyException("not a Keystore key");
            }
            LabProvider.LabKey ours = (LabProvider.LabKey) key;
            needsPerson = LabProvider.isForEachUse(ours);
            try {
                Key raw = raw(ours);
                real = Cipher.getInstance(transformation, "SunJCE");
                if (spec == null) real.init(mode, raw);
                else real.init(mode, raw, spec);
            } catch (InvalidKeyException | InvalidAlgorithmParameterException exc) {
                throw exc;
            } catch (GeneralSecurityException exc) {
                throw new InvalidKeyException(exc);
            }
        }

        @Override
        protected void engineSetMode(String mode) {}

        @Override
        protected void engineSetPadding(String padding) {}

        @Override
        protected int engineGetBlockSize() {
            return 16;
        }

        @Override
        protected int engineGetOutputSize(int inputLength) {
            return inputLength + 16;
        }

        @Override
        protected byte[] engineGetIV() {
            return real.getIV();
        }

        @Override
        protected AlgorithmParameters engineGetParameters() {
            return real.getParameters();
        }

        @Override
        protected void engineInit(int mode, Key key, SecureRandom random)
                throws InvalidKeyException {
            try {
                begin(mode, key, null);
            } catch (InvalidAlgorithmParameterException exc) {
                throw new InvalidKeyException(exc);
            }
        }

        @Override
        protected void engineInit(
                int mode, Key key, AlgorithmParameterSpec spec, SecureRandom random)
                throws InvalidKeyException, InvalidAlgorithmParameterException {
            if (mode == Cipher.ENCRYPT_MODE) {
                throw new InvalidAlgorithmParameterException("Caller-provided IV not permitted");
            }
            begin(mode, key, spec);
        }

        @Override
        protected void engineInit(
                int mode, Key key, AlgorithmParameters parameters, SecureRandom random)
                throws InvalidKeyException {
            throw new InvalidKeyException("not here");
        }

        @Override
        protected void engineUpdateAAD(byte[] bytes, int offset, int length) {
            real.updateAAD(bytes, offset, length);
        }

        @Override
        protected byte[] engineUpdate(byte[] bytes, int offset, int length) {
            return real.update(bytes, offset, length);
        }

        @Override
        protected int engineUpdate(byte[] in, int from, int length, byte[] out, int to)
                throws ShortBufferException {
            return real.update(in, from, length, out, to);
        }

        @Override
        protected byte[] engineDoFinal(byte[] bytes, int offset, int length)
                throws IllegalBlockSizeException, BadPaddingException {
            Faults.at("doFinal");
            if (needsPerson) {
                if (!Device.isConfirmed) {
                    // As Android 12 and later: the cause says why.
                    IllegalBlockSizeException refused = new IllegalBlockSizeException("hunter2");
                    refused.initCause(new UserNotAuthenticatedException("hunter2"));
                    throw refused;
                }
                Device.isConfirmed = false;
            }
            return bytes == null ? real.doFinal() : real.doFinal(bytes, offset, length);
        }

        @Override
        protected int engineDoFinal(byte[] in, int from, int length, byte[] out, int to)
                throws ShortBufferException, IllegalBlockSizeException, BadPaddingException {
            return real.doFinal(in, from, length, out, to);
        }

        @Override
        protected Key engineUnwrap(byte[] wrapped, String algorithm, int kind)
                throws InvalidKeyException, NoSuchAlgorithmException {
            Faults.at("unwrap");
            return real.unwrap(wrapped, algorithm, kind);
        }
    }

    public static final class Gcm extends Delegating {
        public Gcm() {
            super("AES/GCM/NoPadding");
        }

        @Override
        Key raw(LabProvider.LabKey key) throws InvalidKeyException {
            return new SecretKeySpec(LabProvider.usable(key), "AES");
        }
    }

    abstract static class Rsa extends Delegating {
        Rsa(String transformation) {
            super(transformation);
        }

        @Override
        Key raw(LabProvider.LabKey key) throws GeneralSecurityException {
            byte[] encoded = LabProvider.usable(key);
            return KeyFactory.getInstance("RSA").generatePrivate(new PKCS8EncodedKeySpec(encoded));
        }
    }

    public static final class Pkcs1 extends Rsa {
        public Pkcs1() {
            super("RSA/ECB/PKCS1Padding");
        }
    }

    public static final class Oaep extends Rsa {
        public Oaep() {
            super("RSA/ECB/OAEPPadding");
        }
    }
}
