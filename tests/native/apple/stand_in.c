/* A stand-in for CoreFoundation and Security.framework, for driving the real binding without a Mac.

   It counts every object and every misuse of one (released twice, used after its end, of the wrong
   kind), refuses what the real frameworks refuse, and notes what they would do silently and we never
   want: a query by accessibility, a query that reaches both keychains, a panel that nobody allowed.
   Items are kept in a file, so that other processes and forked children see them. It is no keychain:
   nothing is encrypted. */
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

typedef long Index;
enum { STRING = 1, DATA, DICTIONARY, BOOLEAN, ARRAY, NUMBER, ERROR, CONTROL, KEYCHAIN };

typedef struct Object {
    uint64_t magic;
    int kind;
    int immortal;
    long count;
    Index length;
    unsigned char *bytes; /* the text, the data, a path */
    struct Object **keys, **values;
    long number; /* a boolean, a number, an error's code, a control's flags */
} Object;
typedef const Object *Ref;

#define ALIVE 0x616c697665ULL
#define DEAD 0x64656164ULL
#define OK 0
#define PARAM (-50)
#define NOT_FOUND (-25300)
#define DUPLICATE (-25299)
#define LOCKED (-25308)

/* ---- what a test sets and reads ---- */
long stand_in_live, stand_in_misuses, stand_in_violations, stand_in_panels, stand_in_steps;
char stand_in_violation[200];
volatile int stand_in_hangs;     /* calls do not come back while this is set */
volatile int stand_in_answer;    /* what the person says to a panel: 1 yes, 2 no; 0 nothing yet */
int stand_in_is_ios, stand_in_is_locked, stand_in_asks, stand_in_is_unsigned, stand_in_has_no_default;
static char store_path[1024], created[8][1024];
static long fail_at = -1;
static int fail_status;
static struct { char name[64]; int status, times; } planned;
static unsigned char interaction_allowed = 1;
static pthread_mutex_t guard;

static void lock(void) { pthread_mutex_lock(&guard); }
static void unlock(void) { pthread_mutex_unlock(&guard); }
__attribute__((constructor)) static void begin_guard(void) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&guard, &attributes);
}
/* In a forked child the one that held the lock has another name. */
__attribute__((constructor)) static void begin(void) { pthread_atfork(lock, unlock, begin_guard); }
static int violation(const char *what, const char *detail) {
    lock();
    stand_in_violations++;
    snprintf(stand_in_violation, sizeof stand_in_violation, "%s: %s", what, detail);
    unlock();
    return PARAM;
}
static int misuse(void) { __sync_add_and_fetch(&stand_in_misuses, 1); return 0; }
/* Whether this step, of all that can fail, is the one that is to. */
static int fails(void) {
    long step = __sync_add_and_fetch(&stand_in_steps, 1);
    return step == fail_at;
}
void stand_in_fail_at(long step, int status) { stand_in_steps = 0; fail_at = step; fail_status = status; }
void stand_in_plan(const char *name, int status, int times) {
    snprintf(planned.name, sizeof planned.name, "%s", name);
    planned.status = status;
    planned.times = times;
}
static int intercepted(const char *name, int *status) {
    while (stand_in_hangs) usleep(1000);
    if (fails()) { *status = fail_status; return 1; }
    int is_planned = 0;
    lock();
    if (planned.times > 0 && !strcmp(planned.name, name)) {
        planned.times--;
        *status = planned.status;
        is_planned = 1;
    }
    unlock();
    return is_planned;
}
void stand_in_open(const char *path) { /* and no keychain but the default one */
    memset(created, 0, sizeof created);
    snprintf(store_path, sizeof store_path, "%s", path);
}
void stand_in_create_keychain(const char *path) {
    for (int i = 0; i < 8; i++)
        if (!created[i][0]) { snprintf(created[i], sizeof created[i], "%s", path); return; }
}

/* ---- objects ---- */
static Object *make(int kind, const void *bytes, Index length) {
    Object *object = calloc(1, sizeof *object);
    object->magic = ALIVE;
    object->kind = kind;
    object->count = 1;
    object->length = length;
    if (bytes) {
        object->bytes = malloc((size_t)length + 1);
        memcpy(object->bytes, bytes, (size_t)length);
        object->bytes[length] = 0;
    }
    __sync_add_and_fetch(&stand_in_live, 1);
    return object;
}
static int is(Ref object, int kind) {
    if (!object || object->magic != ALIVE) return misuse();
    return object->kind == kind;
}
Ref CFRetain(Ref object) {
    if (!object || object->magic != ALIVE) misuse();
    else __sync_add_and_fetch(&((Object *)object)->count, 1);
    return object;
}
void CFRelease(Ref ref) {
    Object *object = (Object *)ref;
    if (!object || object->magic != ALIVE) { misuse(); return; }
    if (object->immortal || __sync_sub_and_fetch(&object->count, 1) > 0) return;
    for (Index i = 0; object->values && i < object->length; i++) {
        if (object->keys) CFRelease(object->keys[i]);
        CFRelease(object->values[i]);
    }
    if (object->bytes) memset(object->bytes, 0xdd, (size_t)object->length);
    free(object->bytes);
    free(object->keys);
    free(object->values);
    object->magic = DEAD; /* kept, so that any later use is seen */
    __sync_sub_and_fetch(&stand_in_live, 1);
}
unsigned long CFGetTypeID(Ref object) { return is(object, 0) || !object ? 0 : 100 + (unsigned long)object->kind; }
unsigned long CFStringGetTypeID(void) { return 100 + STRING; }
unsigned long CFDataGetTypeID(void) { return 100 + DATA; }
unsigned long CFArrayGetTypeID(void) { return 100 + ARRAY; }

Ref CFStringCreateWithBytes(Ref allocator, const uint8_t *bytes, Index length, uint32_t encoding,
                            unsigned char is_external) {
    (void)allocator;
    if (encoding != 0x08000100) { violation("encoding", "not UTF-8"); return NULL; }
    if (is_external && length >= 3 && !memcmp(bytes, "\xef\xbb\xbf", 3)) { bytes += 3; length -= 3; }
    return fails() ? NULL : make(STRING, bytes, length);
}
Ref CFStringCreateWithCString(Ref allocator, const char *text, uint32_t encoding) {
    return CFStringCreateWithBytes(allocator, (const uint8_t *)text, (Index)strlen(text), encoding, 0);
}
Index CFStringGetLength(Ref text) { /* in units of UTF-16 */
    Index units = 0;
    if (!is(text, STRING)) return misuse();
    for (Index i = 0; i < text->length; i++) {
        if ((text->bytes[i] & 0xc0) != 0x80) units++;
        if (text->bytes[i] >= 0xf0) units++;
    }
    return units;
}
typedef struct { Index location, length; } Range;
Index CFStringGetBytes(Ref text, Range range, uint32_t encoding, uint8_t loss, unsigned char is_external,
                       uint8_t *buffer, Index room, Index *used) {
    (void)is_external;
    if (!is(text, STRING) || range.location || range.length != CFStringGetLength(text) || loss ||
        encoding != 0x08000100 || room < text->length) return misuse();
    memcpy(buffer, text->bytes, (size_t)text->length);
    *used = text->length;
    return range.length;
}
Ref CFDataCreate(Ref allocator, const uint8_t *bytes, Index length) {
    (void)allocator;
    return fails() ? NULL : make(DATA, bytes, length);
}
Index CFDataGetLength(Ref data) { return is(data, DATA) ? data->length : misuse(); }
const uint8_t *CFDataGetBytePtr(Ref data) { return is(data, DATA) ? data->bytes : NULL; }
Ref CFNumberCreate(Ref allocator, uint32_t type, const void *value) {
    (void)allocator;
    (void)type;
    Object *number = make(NUMBER, NULL, 0);
    number->number = *(const int32_t *)value;
    return number;
}
long CFErrorGetCode(Ref error) { return is(error, ERROR) ? error->number : misuse(); }

char kCFTypeDictionaryKeyCallBacks[48], kCFTypeDictionaryValueCallBacks[40], kCFTypeArrayCallBacks[40];
static Object **copied(Ref *from, Index length) {
    Object **to = malloc(sizeof *to * (size_t)(length + 1));
    for (Index i = 0; i < length; i++) to[i] = (Object *)CFRetain(from[i]);
    return to;
}
Ref CFDictionaryCreate(Ref allocator, Ref *keys, Ref *values, Index length, const void *key_calls,
                       const void *value_calls) {
    (void)allocator;
    if (key_calls != kCFTypeDictionaryKeyCallBacks || value_calls != kCFTypeDictionaryValueCallBacks)
        violation("dictionary", "its callbacks do not retain");
    if (fails()) return NULL;
    Object *made = make(DICTIONARY, NULL, length);
    made->keys = copied(keys, length);
    made->values = copied(values, length);
    return made;
}
static int equal(Ref a, Ref b) {
    return a == b || (a->kind == b->kind && a->bytes && b->bytes && a->length == b->length &&
                      !memcmp(a->bytes, b->bytes, (size_t)a->length));
}
Ref CFDictionaryGetValue(Ref dictionary, Ref key) {
    if (!is(dictionary, DICTIONARY)) { misuse(); return NULL; }
    for (Index i = 0; i < dictionary->length; i++)
        if (equal(dictionary->keys[i], key)) return dictionary->values[i];
    return NULL;
}
Ref CFArrayCreate(Ref allocator, Ref *values, Index length, const void *calls) {
    (void)allocator;
    if (calls != kCFTypeArrayCallBacks) violation("array", "its callbacks do not retain");
    if (fails()) return NULL;
    Object *made = make(ARRAY, NULL, length);
    made->values = copied(values, length);
    return made;
}
Index CFArrayGetCount(Ref array) { return is(array, ARRAY) ? array->length : misuse(); }
Ref CFArrayGetValueAtIndex(Ref array, Index index) {
    if (is(array, ARRAY) && index >= 0 && index < array->length) return array->values[index];
    misuse();
    return NULL;
}

/* ---- constants ---- */
static Object yes = {ALIVE, BOOLEAN, 1, 1, 0, 0, 0, 0, 1}, no = {ALIVE, BOOLEAN, 1, 1, 0, 0, 0, 0, 0};
Ref kCFBooleanTrue = &yes, kCFBooleanFalse = &no;
#define CONSTANT(name, text)                                                                        \
    static Object the_##name = {ALIVE, STRING, 1, 1, sizeof text - 1, (unsigned char *)text, 0, 0, 0}; \
    Ref name = &the_##name;
CONSTANT(kSecClass, "class") CONSTANT(kSecClassGenericPassword, "genp")
CONSTANT(kSecAttrService, "svce") CONSTANT(kSecAttrAccount, "acct") CONSTANT(kSecAttrLabel, "labl")
CONSTANT(kSecAttrAccessGroup, "agrp") CONSTANT(kSecAttrSynchronizable, "sync")
CONSTANT(kSecAttrAccessible, "pdmn") CONSTANT(kSecAttrAccessControl, "accc")
CONSTANT(kSecValueData, "v_Data") CONSTANT(kSecReturnData, "r_Data")
CONSTANT(kSecReturnAttributes, "r_Attributes") CONSTANT(kSecMatchLimit, "m_Limit")
CONSTANT(kSecMatchLimitOne, "m_LimitOne") CONSTANT(kSecMatchLimitAll, "m_LimitAll")
CONSTANT(kSecMatchSearchList, "m_SearchList") CONSTANT(kSecUseKeychain, "u_Keychain")
CONSTANT(kSecUseDataProtectionKeychain, "nleg") CONSTANT(kSecUseAuthenticationUI, "u_AuthUI")
CONSTANT(kSecUseAuthenticationUIAllow, "u_AuthUIA") CONSTANT(kSecUseAuthenticationUIFail, "u_AuthUIF")
CONSTANT(kSecUseAuthenticationUISkip, "u_AuthUIS")
CONSTANT(kSecAttrAccessibleWhenUnlocked, "ak") CONSTANT(kSecAttrAccessibleAfterFirstUnlock, "ck")
CONSTANT(kSecAttrAccessibleWhenUnlockedThisDeviceOnly, "aku")
CONSTANT(kSecAttrAccessibleAfterFirstUnlockThisDeviceOnly, "cku")
CONSTANT(kSecAttrAccessibleWhenPasscodeSetThisDeviceOnly, "akpu")

#include "stand_in_keychain.h"
