/* The keychains of stand_in.c: items in a file, and the four calls on them. */

enum { F_WHERE, F_SERVICE, F_ACCOUNT, F_GROUP, F_SYNC, F_ACCESSIBLE, F_FLAGS, F_LABEL, F_VALUE, FIELDS };
typedef struct { uint32_t length; unsigned char *bytes; } Field;
typedef struct { Field fields[FIELDS]; } Item;
static Item *items;
static long count;

static Field field(const void *bytes, Index length) {
    Field made = {(uint32_t)length, malloc((size_t)length + 1)};
    memcpy(made.bytes, bytes, (size_t)length);
    made.bytes[length] = 0;
    return made;
}
static void put(Item *item, int which, const void *bytes, Index length) {
    free(item->fields[which].bytes);
    item->fields[which] = field(bytes, length);
}
static int field_is(const Item *item, int which, const void *bytes, Index length) {
    return item->fields[which].length == length && !memcmp(item->fields[which].bytes, bytes, (size_t)length);
}
static int same(const Item *a, const Item *b, int which) {
    return field_is(a, which, b->fields[which].bytes, b->fields[which].length);
}
static void forget(Item *item) {
    for (int i = 0; i < FIELDS; i++) free(item->fields[i].bytes);
}
static int holder = -1;
static void load(void) { /* under the lock of this process and of the file */
    char name[1100];
    lock();
    snprintf(name, sizeof name, "%s.lock", store_path);
    holder = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    flock(holder, LOCK_EX);
    FILE *file = fopen(store_path, "rb");
    items = NULL;
    count = 0;
    Item item;
    for (int at = 0; file && fread(&item.fields[at].length, 4, 1, file) == 1;) {
        item.fields[at].bytes = calloc(1, item.fields[at].length + 1);
        if (fread(item.fields[at].bytes, 1, item.fields[at].length, file) != item.fields[at].length) abort();
        if (++at < FIELDS) continue;
        at = 0;
        items = realloc(items, sizeof *items * (size_t)(count + 1));
        items[count++] = item;
    }
    if (file) fclose(file);
}
static int done(int status, int is_changed) {
    char name[1100];
    if (is_changed) {
        snprintf(name, sizeof name, "%s.new", store_path);
        FILE *file = fopen(name, "wb");
        for (long i = 0; i < count; i++)
            for (int at = 0; at < FIELDS; at++) {
                fwrite(&items[i].fields[at].length, 4, 1, file);
                fwrite(items[i].fields[at].bytes, 1, items[i].fields[at].length, file);
            }
        fclose(file);
        rename(name, store_path);
    }
    for (long i = 0; i < count; i++) forget(&items[i]);
    free(items);
    items = NULL;
    close(holder);
    unlock();
    return status;
}

enum { ADD = 1, QUERY = 2, CHANGES = 4 };
static const struct { Ref *key; int where; int kinds; } KEYS[] = {
#define K(kind) (1 << (kind))
    {&kSecClass, ADD | QUERY, K(STRING)},
    {&kSecAttrService, ADD | QUERY, K(STRING)},
    {&kSecAttrAccount, ADD | QUERY, K(STRING)},
    {&kSecAttrAccessGroup, ADD | QUERY, K(STRING)},
    {&kSecAttrSynchronizable, ADD | QUERY, K(BOOLEAN)},
    {&kSecAttrLabel, ADD | CHANGES, K(STRING)},
    {&kSecAttrAccessible, ADD | CHANGES, K(STRING)},
    {&kSecAttrAccessControl, ADD | CHANGES, K(CONTROL)},
    {&kSecValueData, ADD | CHANGES, K(DATA) | K(STRING)},
    {&kSecReturnData, QUERY, K(BOOLEAN) | K(NUMBER)},
    {&kSecReturnAttributes, QUERY, K(BOOLEAN)},
    {&kSecMatchLimit, QUERY, K(STRING)},
    {&kSecMatchSearchList, QUERY, K(ARRAY)},
    {&kSecUseKeychain, ADD, K(KEYCHAIN)},
    {&kSecUseDataProtectionKeychain, ADD | QUERY, K(BOOLEAN)},
    {&kSecUseAuthenticationUI, QUERY, K(STRING)},
};
static int checked(Ref dictionary, int where) {
    if (!is(dictionary, DICTIONARY)) return violation("not a dictionary", "");
    for (Index i = 0; i < dictionary->length; i++) {
        Ref key = dictionary->keys[i], value = dictionary->values[i];
        size_t at = 0, size = sizeof KEYS / sizeof *KEYS;
        if (!is(key, STRING)) return violation("a key", "no string");
        while (at < size && !equal(*KEYS[at].key, key)) at++;
        if (at == size) return violation("unknown key", (char *)key->bytes);
        if (!(KEYS[at].where & where)) return violation("key out of place", (char *)key->bytes);
        if (!(KEYS[at].kinds & K(value->kind))) return violation("value of", (char *)key->bytes);
    }
    return OK;
}
/* Which keychain a dictionary means: "data-protection", or "file:" and a path. */
typedef struct { char where[1040]; int is_both, is_protected; } Target;
static int target(Ref dictionary, Target *found) {
    Ref choice = CFDictionaryGetValue(dictionary, kSecUseDataProtectionKeychain);
    Ref keychain = CFDictionaryGetValue(dictionary, kSecUseKeychain);
    Ref list = CFDictionaryGetValue(dictionary, kSecMatchSearchList);
    found->is_both = !stand_in_is_ios && !choice;
    found->is_protected = stand_in_is_ios || (choice && choice->number);
    if (found->is_both) violation("both keychains", "kSecUseDataProtectionKeychain is missing");
    if (stand_in_is_ios && (choice || keychain || list)) return violation("iOS", "a key of macOS");
    if (found->is_protected) {
        strcpy(found->where, "data-protection");
        return stand_in_is_unsigned ? -34018 : OK;
    }
    if (CFDictionaryGetValue(dictionary, kSecAttrAccessible) || CFDictionaryGetValue(dictionary, kSecAttrAccessGroup) ||
        CFDictionaryGetValue(dictionary, kSecAttrAccessControl) || CFDictionaryGetValue(dictionary, kSecAttrSynchronizable))
        return violation("file keychain", "an attribute that it ignores");
    if (list) keychain = CFArrayGetValueAtIndex(list, 0);
    snprintf(found->where, sizeof found->where, "file:%s", keychain ? (char *)keychain->bytes : "");
    if (!keychain) return stand_in_has_no_default ? -25307 : OK;
    for (int i = 0; i < 8; i++)
        if (!strcmp(created[i], (char *)keychain->bytes)) return OK;
    return -25294;
}
/* Asks the person, where that is needed and allowed. */
static int asked(Ref query, int is_protected, int is_needed) {
    Ref ui = query ? CFDictionaryGetValue(query, kSecUseAuthenticationUI) : NULL;
    if (ui && equal(ui, kSecUseAuthenticationUISkip)) violation("skips", "items would look absent");
    if (!is_needed) return OK;
    /* Only the switch of the process keeps the file keychain from asking. */
    int may = is_protected ? !ui || !equal(ui, kSecUseAuthenticationUIFail) : interaction_allowed;
    if (!may) return LOCKED;
    __sync_add_and_fetch(&stand_in_panels, 1);
    while (!stand_in_answer) usleep(1000);
    return stand_in_answer == 1 ? OK : -128;
}
static int matches(const Item *item, Ref query, const Target *where) {
    Ref value;
    if (!where->is_both && strcmp((char *)item->fields[F_WHERE].bytes, where->where)) return 0;
    if ((value = CFDictionaryGetValue(query, kSecAttrService)) && !field_is(item, F_SERVICE, value->bytes, value->length)) return 0;
    if ((value = CFDictionaryGetValue(query, kSecAttrAccount)) && !field_is(item, F_ACCOUNT, value->bytes, value->length)) return 0;
    if ((value = CFDictionaryGetValue(query, kSecAttrAccessGroup)) && !field_is(item, F_GROUP, value->bytes, value->length)) return 0;
    value = CFDictionaryGetValue(query, kSecAttrSynchronizable);
    return field_is(item, F_SYNC, value && value->number ? "1" : "0", 1);
}
static int apply(Item *item, Ref changes) {
    char flags[32];
    Ref value;
    if ((value = CFDictionaryGetValue(changes, kSecAttrLabel))) put(item, F_LABEL, value->bytes, value->length);
    if ((value = CFDictionaryGetValue(changes, kSecValueData))) put(item, F_VALUE, value->bytes ? value->bytes : (unsigned char *)"", value->length);
    Ref accessible = CFDictionaryGetValue(changes, kSecAttrAccessible), control = CFDictionaryGetValue(changes, kSecAttrAccessControl);
    if (accessible && control) return violation("access control", "with accessibility beside it");
    if (accessible) { put(item, F_ACCESSIBLE, accessible->bytes, accessible->length); put(item, F_FLAGS, "0", 1); }
    if (control) {
        put(item, F_ACCESSIBLE, control->bytes, control->length);
        put(item, F_FLAGS, flags, snprintf(flags, sizeof flags, "%lu", (unsigned long)control->number));
    }
    const char *class = (char *)item->fields[F_ACCESSIBLE].bytes;
    if (field_is(item, F_SYNC, "1", 1) && class[0] && class[strlen(class) - 1] == 'u')
        return violation("synchronizable", "of this device only");
    return OK;
}
static int is_wanted(Ref query, Ref key) {
    Ref value = CFDictionaryGetValue(query, key);
    return value && value->number;
}
static int needs_person(const Item *item) {
    return strtoul((char *)item->fields[F_FLAGS].bytes, NULL, 10) != 0;
}
static int look_for_person(Ref query, const Target *where, int wants_value) {
    int is_needed = stand_in_asks && wants_value;
    load();
    for (long i = 0; i < count; i++)
        if (matches(&items[i], query, where) && needs_person(&items[i]) && wants_value) is_needed = 1;
    done(OK, 0);
    return asked(query, where->is_protected, is_needed || (stand_in_is_locked && !where->is_protected));
}

int SecItemCopyMatching(Ref query, Ref *result) {
    int status;
    Target where;
    if (intercepted("SecItemCopyMatching", &status) || (status = checked(query, QUERY)) || (status = target(query, &where))) return status;
    int wants_value = is_wanted(query, kSecReturnData), wants_attributes = is_wanted(query, kSecReturnAttributes);
    Ref limit = CFDictionaryGetValue(query, kSecMatchLimit);
    int wants_all = limit && equal(limit, kSecMatchLimitAll);
    if (wants_all && wants_value) return violation("all values", "at once");
    if (wants_value && wants_attributes) return violation("value and attributes", "at once");
    if (stand_in_is_locked && where.is_protected) return LOCKED;
    if ((status = look_for_person(query, &where, wants_value))) return status;
    load();
    Object *all = make(ARRAY, NULL, 0);
    all->values = malloc(sizeof *all->values * (size_t)(count + 1));
    for (long i = 0; i < count && (wants_all || !all->length); i++) {
        if (!matches(&items[i], query, &where)) continue;
        Object *found;
        Field *account = &items[i].fields[F_ACCOUNT], *value = &items[i].fields[F_VALUE];
        if (wants_value) found = make(DATA, value->bytes, value->length);
        else {
            Ref keys[] = {kSecAttrAccount}, values[] = {make(STRING, account->bytes, account->length)};
            found = make(DICTIONARY, NULL, 1);
            found->keys = copied(keys, 1);
            found->values = copied(values, 1);
            CFRelease(values[0]);
        }
        all->values[all->length++] = found;
    }
    status = all->length ? OK : NOT_FOUND;
    if (result && (wants_value || wants_attributes) && all->length)
        *result = wants_all ? CFRetain(all) : CFRetain(all->values[0]);
    CFRelease(all);
    return done(status, 0);
}
int SecItemAdd(Ref attributes, Ref *result) {
    int status;
    Target where;
    Item item = {0};
    if (result) violation("SecItemAdd", "a result nobody takes");
    if (intercepted("SecItemAdd", &status) || (status = checked(attributes, ADD)) || (status = target(attributes, &where))) return status;
    Ref service = CFDictionaryGetValue(attributes, kSecAttrService), account = CFDictionaryGetValue(attributes, kSecAttrAccount);
    Ref group = CFDictionaryGetValue(attributes, kSecAttrAccessGroup);
    if (!service || !account || !CFDictionaryGetValue(attributes, kSecValueData)) return violation("add", "incomplete");
    if (stand_in_is_locked && where.is_protected) return LOCKED;
    if ((status = asked(NULL, 0, stand_in_is_locked))) return status;
    const char *to = where.is_both ? "file:" : where.where;
    put(&item, F_WHERE, to, (Index)strlen(to));
    put(&item, F_SERVICE, service->bytes, service->length);
    put(&item, F_ACCOUNT, account->bytes, account->length);
    put(&item, F_GROUP, group ? group->bytes : (unsigned char *)"own", group ? group->length : 3);
    put(&item, F_SYNC, is_wanted(attributes, kSecAttrSynchronizable) ? "1" : "0", 1);
    put(&item, F_ACCESSIBLE, where.is_protected ? "ak" : "", where.is_protected ? 2 : 0);
    put(&item, F_FLAGS, "0", 1);
    put(&item, F_LABEL, service->bytes, service->length);
    put(&item, F_VALUE, "", 0);
    if ((status = apply(&item, attributes))) { forget(&item); return status; }
    load();
    for (long i = 0; i < count; i++)
        if (same(&items[i], &item, F_WHERE) && same(&items[i], &item, F_SERVICE) && same(&items[i], &item, F_ACCOUNT) &&
            same(&items[i], &item, F_GROUP) && same(&items[i], &item, F_SYNC)) { forget(&item); return done(DUPLICATE, 0); }
    items = realloc(items, sizeof *items * (size_t)(count + 1));
    items[count++] = item;
    return done(OK, 1);
}
int SecItemUpdate(Ref query, Ref changes) {
    int status, changed = 0;
    Target where;
    if (intercepted("SecItemUpdate", &status) || (status = checked(query, QUERY)) || (status = checked(changes, CHANGES)) ||
        (status = target(query, &where))) return status;
    if (CFDictionaryGetValue(query, kSecMatchLimit) || CFDictionaryGetValue(query, kSecReturnData)) return violation("update", "with a result");
    if (stand_in_is_locked && where.is_protected) return LOCKED;
    if ((status = look_for_person(query, &where, 1))) return status;
    load();
    for (long i = 0; i < count; i++)
        if (matches(&items[i], query, &where)) {
            changed = 1;
            if ((status = apply(&items[i], changes))) return done(status, 0);
        }
    return done(changed ? OK : NOT_FOUND, changed);
}
int SecItemDelete(Ref query) {
    int status, changed = 0;
    Target where;
    if (intercepted("SecItemDelete", &status) || (status = checked(query, QUERY)) || (status = target(query, &where))) return status;
    if (CFDictionaryGetValue(query, kSecMatchLimit) || CFDictionaryGetValue(query, kSecReturnData)) return violation("delete", "with a result");
    if (stand_in_is_locked && where.is_protected) return LOCKED;
    if ((status = look_for_person(query, &where, 0))) return status;
    load();
    for (long i = count - 1; i >= 0; i--)
        if (matches(&items[i], query, &where)) {
            forget(&items[i]);
            memmove(&items[i], &items[i + 1], sizeof *items * (size_t)(count - i - 1));
            count--;
            changed = 1;
        }
    return done(changed ? OK : NOT_FOUND, changed);
}
Ref SecAccessControlCreateWithFlags(Ref allocator, Ref protection, unsigned long flags, Ref *error) {
    (void)allocator;
    unsigned long biometry = flags & (2 | 8), other = flags & ~(1UL | 1UL << 31 | 1UL << 30);
    int status = OK;
    if (fails()) status = fail_status;
    else if (!protection || !is(protection, STRING) || (flags & 1 << 14 && flags & 1 << 15) || biometry == (2 | 8) ||
             (flags & 1 && other)) status = violation("access control", "a combination that cannot be");
    if (status) {
        Object *problem = make(ERROR, NULL, 0);
        problem->number = status;
        if (error) *error = problem; else CFRelease(problem);
        return NULL;
    }
    Object *made = make(CONTROL, protection->bytes, protection->length);
    made->number = (long)flags;
    return made;
}
Ref SecCopyErrorMessageString(int status, void *reserved) {
    (void)reserved;
    char text[60];
    return fails() ? NULL : make(STRING, text, snprintf(text, sizeof text, "the system's words for %d", status));
}
int SecKeychainOpen(const char *path, Ref *keychain) {
    int status;
    if (intercepted("SecKeychainOpen", &status)) return status;
    *keychain = make(KEYCHAIN, path, (Index)strlen(path));
    return OK;
}
int SecKeychainGetStatus(Ref keychain, uint32_t *state) {
    int status;
    if (intercepted("SecKeychainGetStatus", &status)) return status;
    int is_there = !keychain && !stand_in_has_no_default;
    for (int i = 0; keychain && is(keychain, KEYCHAIN) && i < 8; i++) is_there |= !strcmp(created[i], (char *)keychain->bytes);
    if (!is_there) return keychain ? -25294 : -25307;
    *state = stand_in_is_locked ? 6 : 7;
    return OK;
}
int SecKeychainGetUserInteractionAllowed(unsigned char *is_allowed) { *is_allowed = interaction_allowed; return OK; }
int SecKeychainSetUserInteractionAllowed(unsigned char is_allowed) { interaction_allowed = is_allowed; return OK; }
