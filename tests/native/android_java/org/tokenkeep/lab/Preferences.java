package org.tokenkeep.lab;

import android.content.SharedPreferences;
import java.io.File;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;

/** SharedPreferences in a file; a value that begins with "int:" is a number. */
public final class Preferences implements SharedPreferences {
    /** The next commits fail, as on a full disk. */
    public static volatile boolean fails;

    private final File file;

    Preferences(File file) {
        this.file = file;
    }

    @Override
    public Map<String, ?> getAll() {
        Map<String, Object> entries = new HashMap<>();
        Properties properties = read();
        for (String key : properties.stringPropertyNames()) {
            String value = properties.getProperty(key);
            boolean isNumber = value.startsWith("int:");
            entries.put(key, isNumber ? (Object) Integer.valueOf(value.substring(4)) : value);
        }
        return entries;
    }

    @Override
    public Editor edit() {
        Properties changed = read();
        return new Editor() {
            @Override
            public Editor putString(String key, String value) {
                changed.setProperty(key, value);
                return this;
            }

            @Override
            public Editor remove(String key) {
                changed.remove(key);
                return this;
            }

            @Override
            public boolean commit() {
                if (fails) return false;
                file.getParentFile().mkdirs();
                try (FileOutputStream out = new FileOutputStream(file)) {
                    changed.store(out, null);
                } catch (IOException exc) {
                    throw new UncheckedIOException(exc);
                }
                return true;
            }
        };
    }

    private Properties read() {
        Properties properties = new Properties();
        if (!file.exists()) return properties;
        try (FileInputStream in = new FileInputStream(file)) {
            properties.load(in);
        } catch (IOException exc) {
            throw new UncheckedIOException(exc);
        }
        return properties;
    }
}
