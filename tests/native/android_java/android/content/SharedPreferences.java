package android.content;

import java.util.Map;

public interface SharedPreferences {
    Map<String, ?> getAll();
}
