package org.tokenkeep.lab;

import android.hardware.biometrics.BiometricPrompt;
import java.lang.reflect.Method;

/** Who meets the next prompts. */
public final class People {
    public static volatile int met;
    public static volatile String lastTitle = "";
    public static volatile boolean lastWasForCipher;
    public static volatile boolean wasCancelled;

    private People() {}

    /** Confirms after one finger that was not recognised. */
    public static void confirming() {
        next(
                (title, isForCipher, hasButton, button, cancel, callback) -> {
                    seen(title, isForCipher);
                    callback.onAuthenticationFailed();
                    if (isForCipher) Device.isConfirmed = true;
                    else Device.authenticate();
                    callback.onAuthenticationSucceeded(new BiometricPrompt.AuthenticationResult());
                });
    }

    /** Ends the prompt with a BIOMETRIC_ERROR constant; 13 is the negative button. */
    public static void failing(int code) {
        next(
                (title, isForCipher, hasButton, button, cancel, callback) -> {
                    seen(title, isForCipher);
                    if (code == 13 && hasButton) button.onClick(null, -2);
                    else callback.onAuthenticationError(code, "hunter2");
                });
    }

    /** The sensor ends so many prompts with a code; then somebody confirms. */
    public static void busy(int code, int times) {
        next(
                (title, isForCipher, hasButton, button, cancel, callback) -> {
                    seen(title, isForCipher);
                    if (met <= times) {
                        callback.onAuthenticationError(code, "hunter2");
                        return;
                    }
                    if (isForCipher) Device.isConfirmed = true;
                    else Device.authenticate();
                    callback.onAuthenticationSucceeded(new BiometricPrompt.AuthenticationResult());
                });
    }

    /** Confirms after a while, if the prompt is still there. */
    public static void hesitating(int milliseconds) {
        next(
                (title, isForCipher, hasButton, button, cancel, callback) -> {
                    seen(title, isForCipher);
                    long until = System.nanoTime() + milliseconds * 1_000_000L;
                    while (!cancel.isCanceled() && System.nanoTime() < until) pause();
                    if (cancel.isCanceled()) return;
                    if (isForCipher) Device.isConfirmed = true;
                    else Device.authenticate();
                    callback.onAuthenticationSucceeded(new BiometricPrompt.AuthenticationResult());
                });
    }

    /** Nobody is there. */
    public static void absent() {
        next(
                (title, isForCipher, hasButton, button, cancel, callback) -> {
                    seen(title, isForCipher);
                    while (!cancel.isCanceled()) pause();
                    wasCancelled = true;
                });
    }

    private static void seen(String title, boolean isForCipher) {
        met++;
        lastTitle = title;
        lastWasForCipher = isForCipher;
    }

    private static void pause() {
        try {
            Thread.sleep(5);
        } catch (InterruptedException exc) {
            Thread.currentThread().interrupt();
        }
    }

    private static void next(BiometricPrompt.Person person) {
        met = 0;
        wasCancelled = false;
        try {
            Method method =
                    BiometricPrompt.class.getDeclaredMethod("met", BiometricPrompt.Person.class);
            method.setAccessible(true);
            method.invoke(null, person);
        } catch (ReflectiveOperationException exc) {
            throw new IllegalStateException(exc);
        }
    }
}
