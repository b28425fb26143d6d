package org.tokenkeep.lab;

import java.lang.reflect.Constructor;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HashMap;
import java.util.Map;

/** What the Keystore throws next, by the step at which it does. */
public final class Faults {
    private static final Map<String, Deque<String>> NEXT = new HashMap<>();
    private static final Map<String, Integer> SEEN = new HashMap<>();
    private static int pauseMillis;

    private Faults() {}

    /**
     * @param chain class names from the outermost to the innermost cause, with "&lt;" between;
     *     android.security.KeyStoreException takes its two codes as "Name(10,-72)", and
     *     the text that is all it says before Android 13 as "Name[Device locked]".
     * @param times how often; negative for ever.
     */
    public static synchronized void inject(String step, String chain, int times) {
        Deque<String> queue = NEXT.computeIfAbsent(step, any -> new ArrayDeque<>());
        for (int turn = 0; turn < Math.abs(times); turn++) queue.add(chain);
        if (times < 0) queue.add("for ever:" + chain);
    }

    public static synchronized void clear() {
        NEXT.clear();
        SEEN.clear();
        pauseMillis = 0;
    }

    /** How often a step was reached. */
    public static synchronized int seen(String step) {
        return SEEN.getOrDefault(step, 0);
    }

    /** Every step takes so long from now on. */
    public static synchronized void pause(int milliseconds) {
        pauseMillis = milliseconds;
    }

    static void at(String step) {
        int pause;
        String chain = null;
        synchronized (Faults.class) {
            pause = pauseMillis;
            SEEN.merge(step, 1, Integer::sum);
            Deque<String> queue = NEXT.get(step);
            if (queue != null && !queue.isEmpty()) {
                chain = queue.peek();
                if (chain.startsWith("for ever:")) chain = chain.substring(9);
                else queue.remove();
            }
        }
        if (pause > 0) {
            try {
                Thread.sleep(pause);
            } catch (InterruptedException exc) {
                Thread.currentThread().interrupt();
            }
        }
        if (chain != null) Faults.<RuntimeException>sneak(made(chain));
    }

    private static Throwable made(String chain) {
        Throwable made = null;
        String[] names = chain.split("<");
        for (int at = names.length - 1; at >= 0; at--) {
            Throwable outer = single(names[at]);
            if (made != null) outer.initCause(made);
            made = outer;
        }
        return made;
    }

    private static Throwable single(String name) {
        // Whatever a message holds must reach nobody.
        String message = name.endsWith("IOException") ? "No space left on device" : "hunter2";
        try {
            int text = name.indexOf('[');
            if (text >= 0) {
                Constructor<?> made =
                        Class.forName(name.substring(0, text))
                                .getDeclaredConstructor(String.class);
                made.setAccessible(true);
                return (Throwable) made.newInstance(name.substring(text + 1, name.length() - 1));
            }
            int bracket = name.indexOf('(');
            if (bracket >= 0) {
                String[] codes = name.substring(bracket + 1, name.length() - 1).split(",");
                Constructor<?> made =
                        Class.forName(name.substring(0, bracket))
                                .getDeclaredConstructor(int.class, int.class, String.class);
                made.setAccessible(true);
                int open = Integer.parseInt(codes[0]);
                return (Throwable) made.newInstance(open, Integer.parseInt(codes[1]), message);
            }
            if (name.endsWith("BackendBusyException")) {
                return new android.security.keystore.BackendBusyException(10, message);
            }
            return (Throwable)
                    Class.forName(name).getConstructor(String.class).newInstance(message);
        } catch (ReflectiveOperationException exc) {
            throw new IllegalArgumentException(name, exc);
        }
    }

    @SuppressWarnings("unchecked")
    private static <T extends Throwable> void sneak(Throwable thrown) throws T {
        throw (T) thrown;
    }
}
