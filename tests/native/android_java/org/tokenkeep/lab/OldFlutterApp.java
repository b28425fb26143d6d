package org.tokenkeep.lab;

import android.content.SharedPreferences;
import java.nio.charset.StandardCharsets;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.SecureRandom;
import java.security.spec.MGF1ParameterSpec;
import java.util.Base64;
import javax.crypto.Cipher;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.IvParameterSpec;
import javax.crypto.spec.OAEPParameterSpec;
import javax.crypto.spec.PSource;
import javax.crypto.spec.SecretKeySpec;

/**
 * Writes what an application with flutter_secure_storage leaves behind, by the JDK's own ciphers:
 * none of tokenkeep's code, nor of the library that tokenkeep decrypts with, has a part in it.
 */
public final class OldFlutterApp {
    private static final String PREFIX = "VGhpcyBpcyB0aGUgcHJlZml4IGZvciBhIHNlY3VyZSBzdG9yYWdlCg";
    private static final SecureRandom RANDOM = new SecureRandom();

    private static KeyPair pair;

    private final SharedPreferences values;
    private final boolean isGcm;
    private final SecretKeySpec key;

    /**
     * @param release 8 (RSA PKCS #1 and AES-CBC, no markers), 9 (OAEP and AES-GCM, markers beside
     *     the values, version 9's name for the key), 10 (markers in a file of their own), or 11 (in
     *     one file for each namespace); 0 for the key behind a finger.
     */
    public OldFlutterApp(int release, String namespace) throws Exception {
        Device device = new Device();
        String file = namespace == null ? "FlutterSecureStorage" : namespace;
        String keys = "FlutterSecureKeyStorage" + (namespace == null ? "" : ":" + namespace);
        String suffix = namespace == null ? "" : "." + namespace;
        values = device.getSharedPreferences(file, 0);
        isGcm = release != 8;
        byte[] raw = new byte[release == 0 ? 32 : 16];
        RANDOM.nextBytes(raw);
        key = new SecretKeySpec(raw, "AES");
        String alias = device.getPackageName() + ".FlutterSecureStoragePluginKey";
        SharedPreferences kept = device.getSharedPreferences(keys, 0);
        if (release == 0) {
            behindFinger(alias + suffix, kept, raw);
        } else {
            alias += (isGcm ? "OAEP" : "") + suffix;
            String name =
                    release == 8
                            ? "VGhpcyBpcyB0aGUga2V5IGZvciBhIHNlY3VyZSBzdG9yYWdlIEFFUyBLZXkK"
                            : release == 9
                                    ? "VGhpcyBpcyB0aGUga2V5IGZvcihBIHNlY3XyZZBzdG9yYWdlIEFFUyBLZXkK"
                                    : "AESVGhpcyBpcyB0aGUga2V5IGZvciBhIHNlY3VyZSBzdG9yYWdlIEFFUyBLZXkK";
            put(kept, name, wrapped(alias));
        }
        if (release != 8) {
            String markers = "FlutterSecureStorageConfiguration";
            if (release == 9) markers = file;
            if (release == 11 || release == 0) markers += ":" + file;
            SharedPreferences said = device.getSharedPreferences(markers, 0);
            String wrapping =
                    release == 0 ? "AES_GCM_NoPadding" : "RSA_ECB_OAEPwithSHA_256andMGF1Padding";
            said.edit()
                    .putString("FlutterSecureSAlgorithmKey", wrapping)
                    .putString("FlutterSecureSAlgorithmStorage", "AES_GCM_NoPadding")
                    .commit();
        }
    }

    public void write(String name, String value) throws Exception {
        byte[] nonce = new byte[isGcm ? 12 : 16];
        RANDOM.nextBytes(nonce);
        Cipher cipher =
                Cipher.getInstance(isGcm ? "AES/GCM/NoPadding" : "AES/CBC/PKCS5Padding", "SunJCE");
        cipher.init(
                Cipher.ENCRYPT_MODE,
                key,
                isGcm ? new GCMParameterSpec(128, nonce) : new IvParameterSpec(nonce));
        put(values, PREFIX + "_" + name, joined(nonce, cipher.doFinal(value.getBytes(
                StandardCharsets.UTF_8))));
    }

    /** An entry as it lies, for what a test wants beside the plugin's own. */
    public static void putRaw(String file, String name, String value) {
        new Device().getSharedPreferences(file, 0).edit().putString(name, value).commit();
    }

    private byte[] wrapped(String alias) throws Exception {
        KeyPair pair = pair();
        Device.install(alias, "RSA", pair.getPrivate().getEncoded());
        Cipher cipher =
                Cipher.getInstance(
                        isGcm ? "RSA/ECB/OAEPPadding" : "RSA/ECB/PKCS1Padding", "SunJCE");
        if (isGcm) {
            OAEPParameterSpec spec =
                    new OAEPParameterSpec(
                            "SHA-256", "MGF1", MGF1ParameterSpec.SHA1, PSource.PSpecified.DEFAULT);
            cipher.init(Cipher.WRAP_MODE, pair.getPublic(), spec);
        } else {
            cipher.init(Cipher.WRAP_MODE, pair.getPublic());
        }
        return cipher.wrap(key);
    }

    /** One for all devices: making it takes longer than everything else. */
    private static synchronized KeyPair pair() throws Exception {
        if (pair == null) {
            KeyPairGenerator generator = KeyPairGenerator.getInstance("RSA");
            generator.initialize(2048);
            pair = generator.generateKeyPair();
        }
        return pair;
    }

    private static void behindFinger(String alias, SharedPreferences kept, byte[] raw)
            throws Exception {
        byte[] outer = new byte[32];
        RANDOM.nextBytes(outer);
        Device.install(alias, "AES", outer);
        Cipher cipher = Cipher.getInstance("AES/GCM/NoPadding", "SunJCE");
        cipher.init(Cipher.ENCRYPT_MODE, new SecretKeySpec(outer, "AES"));
        byte[] sealed = cipher.doFinal(raw);
        put(kept, "KeyStoreIV1", cipher.getIV());
        put(kept, "BVGhpcyBpcyB0aGUga2V5IGZvciBhIHNlY3VyZSBzdG9yYWdlIEFFUyBLZXkK", sealed);
    }

    /** Android's Base64.DEFAULT: lines of 76 characters, each ended. */
    private static void put(SharedPreferences file, String name, byte[] value) {
        String text = Base64.getMimeEncoder(76, new byte[] {'\n'}).encodeToString(value) + "\n";
        file.edit().putString(name, text).commit();
    }

    private static byte[] joined(byte[] first, byte[] second) {
        byte[] both = new byte[first.length + second.length];
        System.arraycopy(first, 0, both, 0, first.length);
        System.arraycopy(second, 0, both, first.length, second.length);
        return both;
    }
}
