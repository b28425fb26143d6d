package android.hardware.biometrics;

import android.content.Context;
import android.content.DialogInterface;
import android.os.CancellationSignal;
import java.util.concurrent.Executor;
import javax.crypto.Cipher;

/** A person who does what `Person` says. */
public class BiometricPrompt {
    /** Not Android's: what the next person does. */
    public interface Person {
        void meets(
                String title,
                boolean isForCipher,
                boolean hasNegativeButton,
                DialogInterface.OnClickListener negative,
                CancellationSignal cancel,
                AuthenticationCallback callback);
    }

    static Person person;
    private final Builder built;

    private BiometricPrompt(Builder built) {
        this.built = built;
    }

    static void met(Person next) {
        person = next;
    }

    public void authenticate(
            CancellationSignal cancel, Executor executor, AuthenticationCallback callback) {
        ask(false, cancel, executor, callback);
    }

    public void authenticate(
            CryptoObject crypto,
            CancellationSignal cancel,
            Executor executor,
            AuthenticationCallback callback) {
        ask(crypto.getCipher() != null, cancel, executor, callback);
    }

    private void ask(
            boolean isForCipher,
            CancellationSignal cancel,
            Executor executor,
            AuthenticationCallback callback) {
        new Thread(
                        () ->
                                executor.execute(
                                        () ->
                                                person.meets(
                                                        built.title.toString(),
                                                        isForCipher,
                                                        built.negative != null,
                                                        built.negative,
                                                        cancel,
                                                        callback)))
                .start();
    }

    public static class CryptoObject {
        private final Cipher cipher;

        public CryptoObject(Cipher cipher) {
            this.cipher = cipher;
        }

        public Cipher getCipher() {
            return cipher;
        }
    }

    public static class AuthenticationResult {}

    public abstract static class AuthenticationCallback {
        public void onAuthenticationError(int errorCode, CharSequence errString) {}

        public void onAuthenticationFailed() {}

        public void onAuthenticationSucceeded(AuthenticationResult result) {}
    }

    public static class Builder {
        private CharSequence title;
        private int authenticators;
        private DialogInterface.OnClickListener negative;

        public Builder(Context context) {
            if (context == null) throw new IllegalArgumentException("no context");
        }

        public Builder setTitle(CharSequence title) {
            this.title = title;
            return this;
        }

        public Builder setAllowedAuthenticators(int authenticators) {
            this.authenticators = authenticators;
            return this;
        }

        public Builder setNegativeButton(
                CharSequence text, Executor executor, DialogInterface.OnClickListener listener) {
            negative = listener;
            return this;
        }

        public BiometricPrompt build() {
            boolean credential = (authenticators & 0x8000) != 0;
            if (title == null) throw new IllegalArgumentException("Title must be set");
            if (credential == (negative != null)) {
                throw new IllegalArgumentException("a negative button or a device credential");
            }
            return new BiometricPrompt(this);
        }
    }
}
