package org.tokenkeep.lab;

import android.content.Context;
import android.content.SharedPreferences;
import android.content.pm.PackageManager;
import android.os.Build;
import java.io.File;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import org.kivy.android.PythonActivity;

/** A device in a directory: its Keystore's keys outlive the process and are shared by processes. */
public final class Device extends Context {
    static volatile File root;
    public static volatile boolean hasStrongBox;
    public static volatile boolean hasHardware;
    public static volatile boolean isLocked;
    /** What the Keystore really does, whatever it says of itself. */
    public static volatile boolean lies;
    static volatile long authenticatedAt = Long.MIN_VALUE;
    static volatile boolean isConfirmed;

    public static void use(String directory) {
        root = new File(directory);
        keys().mkdirs();
        hasStrongBox = false;
        hasHardware = true;
        isLocked = false;
        lies = false;
        authenticatedAt = Long.MIN_VALUE;
        isConfirmed = false;
        Build.VERSION.SDK_INT = 36;
        Preferences.fails = false;
        Faults.clear();
        LabProvider.install();
        PythonActivity.mActivity = new Device();
    }

    /** The person has just used the device's own screen lock or a finger. */
    public static void authenticate() {
        authenticatedAt = System.nanoTime();
    }

    public static String[] aliases() {
        List<String> names = new ArrayList<>();
        for (File file : keys().listFiles()) names.add(nameOf(file));
        return names.toArray(new String[0]);
    }

    /** Puts a key there that another program made. */
    public static void install(String alias, String algorithm, byte[] encoded) {
        Map<String, String> key = new TreeMap<>();
        key.put("algorithm", algorithm);
        key.put("encoded", hex(encoded));
        keep(alias, key);
    }

    /** What a key was made with; empty if there is none. */
    public static String attribute(String alias, String name) {
        Properties key = key(alias);
        return key == null ? "" : key.getProperty(name, "");
    }

    /** A lock screen was removed, or a finger enrolled: the key stays, and works no more. */
    public static void invalidate(String alias) {
        Map<String, String> key = new TreeMap<>();
        Properties old = key(alias);
        for (String name : old.stringPropertyNames()) key.put(name, old.getProperty(name));
        key.put("invalidated", "true");
        keep(alias, key);
    }

    static File keys() {
        return new File(root, "keystore");
    }

    static void keep(String alias, Map<String, String> key) {
        Properties properties = new Properties();
        properties.putAll(key);
        File file = fileOf(alias);
        File aside = new File(keys(), ".new-" + System.nanoTime());
        try (FileOutputStream out = new FileOutputStream(aside)) {
            properties.store(out, null);
        } catch (IOException exc) {
            throw new UncheckedIOException(exc);
        }
        if (!aside.renameTo(file)) throw new IllegalStateException("rename");
    }

    static Properties key(String alias) {
        File file = fileOf(alias);
        if (!file.exists()) return null;
        Properties properties = new Properties();
        try (FileInputStream in = new FileInputStream(file)) {
            properties.load(in);
        } catch (IOException exc) {
            throw new UncheckedIOException(exc);
        }
        return properties;
    }

    static File fileOf(String alias) {
        return new File(keys(), hex(alias.getBytes(StandardCharsets.UTF_8)));
    }

    static String nameOf(File file) {
        return new String(bytes(file.getName()), StandardCharsets.UTF_8);
    }

    static String hex(byte[] bytes) {
        StringBuilder text = new StringBuilder();
        for (byte each : bytes) text.append(String.format("%02x", each));
        return text.toString();
    }

    static byte[] bytes(String hex) {
        byte[] bytes = new byte[hex.length() / 2];
        for (int at = 0; at < bytes.length; at++) {
            bytes[at] = (byte) Integer.parseInt(hex.substring(2 * at, 2 * at + 2), 16);
        }
        return bytes;
    }

    @Override
    public File getFilesDir() {
        return made("files");
    }

    @Override
    public File getNoBackupFilesDir() {
        return made("no_backup");
    }

    @Override
    public String getPackageName() {
        return "org.example.app";
    }

    @Override
    public SharedPreferences getSharedPreferences(String name, int mode) {
        return new Preferences(new File(new File(root, "shared_prefs"), name + ".properties"));
    }

    @Override
    public PackageManager getPackageManager() {
        return new PackageManager() {
            @Override
            public boolean hasSystemFeature(String featureName) {
                if (featureName.equals(FEATURE_STRONGBOX_KEYSTORE)) return hasStrongBox;
                return featureName.equals(FEATURE_HARDWARE_KEYSTORE) && hasHardware;
            }
        };
    }

    private static File made(String name) {
        Faults.at("directory");
        File directory = new File(root, name);
        directory.mkdirs();
        return directory;
    }
}
