/* A stand-in for the Objective-C runtime and LAContext, beside the objects of stand_in.c.

   Messages go by the selector's name. A reply is made on a thread of its own, through the block as
   the compiler would call it. */
#include "stand_in.c"

typedef struct Descriptor { unsigned long reserved, size; const char *signature; } Descriptor;
typedef struct Block {
    void *isa;
    int flags, reserved;
    void (*invoke)(struct Block *, _Bool, Ref);
    Descriptor *descriptor;
} Block;
typedef struct { long count; Block *asked; int is_answered; } Context;

char _NSConcreteGlobalBlock[32];
/* What a test sets: LAErrors, 0 for none; a reply of 1 never comes by itself. */
volatile int stand_in_can, stand_in_reply, stand_in_has_no_class;
/* What it reads. */
long stand_in_contexts, stand_in_pools, stand_in_invalidated;
char stand_in_reason[200];
static char the_class;

void *objc_getClass(const char *name) {
    return strcmp(name, "LAContext") || stand_in_has_no_class ? NULL : &the_class;
}
void *sel_registerName(const char *name) { return strdup(name); }
void *objc_autoreleasePoolPush(void) { stand_in_pools++; return &stand_in_pools; }
void objc_autoreleasePoolPop(void *pool) {
    if (pool != &stand_in_pools) misuse();
    stand_in_pools--;
}
static void answer(Context *context, int code) {
    Object *error = NULL;
    if (__sync_lock_test_and_set(&context->is_answered, 1)) return;
    if (code) {
        error = make(ERROR, NULL, 0);
        error->number = code;
    }
    context->asked->invoke(context->asked, code == 0, error);
    if (error) CFRelease(error);
}
static void released(Context *context) {
    if (__sync_sub_and_fetch(&context->count, 1) == 0) __sync_sub_and_fetch(&stand_in_contexts, 1);
}
static void *person(void *argument) {
    Context *context = argument;
    usleep(2000);
    if (stand_in_reply <= 0) answer(context, stand_in_reply);
    released(context);
    return NULL;
}
static void ask(Context *context, long policy, Ref reason, Block *block) {
    pthread_t thread;
    if (policy != 1 && policy != 2) violation("policy", "unknown");
    if (!is(reason, STRING) || !reason->length) { violation("reason", "empty: LAContext raises"); return; }
    snprintf(stand_in_reason, sizeof stand_in_reason, "%s", reason->bytes);
    if (block->isa != _NSConcreteGlobalBlock || block->flags != (1 << 28 | 1 << 30) || block->reserved ||
        block->descriptor->reserved || block->descriptor->size != sizeof *block ||
        strcmp(block->descriptor->signature, "v20@?0B8@12")) violation("block", "its layout");
    context->asked = block;
    __sync_add_and_fetch(&context->count, 1);
    pthread_create(&thread, NULL, person, context);
    pthread_detach(thread);
}
void *objc_msgSend(void *receiver, char *selector, void *first, void *second, void *third) {
    Context *context = receiver;
    while (stand_in_hangs) usleep(1000);
    if (!strcmp(selector, "alloc") && receiver == &the_class) {
        context = calloc(1, sizeof *context);
        context->count = 1;
        __sync_add_and_fetch(&stand_in_contexts, 1);
        return context;
    }
    if (!strcmp(selector, "init")) return context;
    if (!strcmp(selector, "canEvaluatePolicy:error:")) {
        static Object problem = {ALIVE, ERROR, 1, 1, 0, 0, 0, 0, 0};
        problem.number = stand_in_can;
        if (stand_in_can) *(Ref *)second = &problem;
        return (void *)(long)(stand_in_can == 0);
    }
    if (!strcmp(selector, "evaluatePolicy:localizedReason:reply:")) ask(context, (long)first, second, third);
    else if (!strcmp(selector, "invalidate")) {
        __sync_add_and_fetch(&stand_in_invalidated, 1);
        if (context->asked) answer(context, -9);
    } else if (!strcmp(selector, "release")) {
        if (context->count < 1) misuse();
        released(context);
    } else violation("selector", selector);
    return NULL;
}
