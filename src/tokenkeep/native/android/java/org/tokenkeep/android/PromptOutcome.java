package org.tokenkeep.android;

import android.content.DialogInterface;
import android.hardware.biometrics.BiometricPrompt;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;

/**
 * What became of one prompt. Python can implement Java interfaces but not extend the abstract class
 * that the prompt reports to, so this file has to be compiled into the application. It decides
 * nothing and keeps no secret.
 */
public final class PromptOutcome extends BiometricPrompt.AuthenticationCallback
        implements Executor, DialogInterface.OnClickListener {
    /** Neither confirmed nor failed yet. */
    public static final int PENDING = -1;
    public static final int CONFIRMED = 0;
    /** BiometricPrompt's own number for the negative button, which reaches us as a click. */
    public static final int NEGATIVE_BUTTON = 13;

    private final CountDownLatch over = new CountDownLatch(1);
    private volatile int code = PENDING;

    /** Waits for the person; false if the time is over first. */
    public boolean waitFor(long milliseconds) throws InterruptedException {
        return over.await(milliseconds, TimeUnit.MILLISECONDS);
    }

    /** PENDING, CONFIRMED, or a BIOMETRIC_ERROR constant. */
    public int code() {
        return code;
    }

    @Override
    public void onAuthenticationSucceeded(BiometricPrompt.AuthenticationResult result) {
        settle(CONFIRMED);
    }

    /** One finger that was not recognised ends nothing: onAuthenticationFailed stays as it is. */
    @Override
    public void onAuthenticationError(int errorCode, CharSequence errString) {
        settle(errorCode);
    }

    @Override
    public void onClick(DialogInterface dialog, int which) {
        settle(NEGATIVE_BUTTON);
    }

    @Override
    public void execute(Runnable command) {
        command.run();
    }

    private synchronized void settle(int outcome) {
        if (code == PENDING) {
            code = outcome;
            over.countDown();
        }
    }
}
