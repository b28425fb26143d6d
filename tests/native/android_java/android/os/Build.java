package android.os;

public class Build {
    public static class VERSION {
        /** Not final here: a test may be an older device. */
        public static int SDK_INT = 36;
    }
}
