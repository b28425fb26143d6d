package org.kivy.android;

import android.content.Context;

/** Where python-for-android keeps the activity; here, the lab's device. */
public class PythonActivity {
    public static Context mActivity;
}
