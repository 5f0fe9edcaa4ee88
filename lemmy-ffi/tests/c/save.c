/* Sessions saved and brought back, in files and through functions, and what is no session. */
#include "support.h"

typedef struct Bytes {
    uint8_t *data;
    size_t size, at;
    int calls, stop_at;
    size_t lie; /* says so many bytes more than there are */
} Bytes;

static int32_t take(void *user_data, const uint8_t *data, size_t size) {
    Bytes *bytes = (Bytes *)user_data;
    uint8_t *grown = (uint8_t *)realloc(bytes->data, bytes->size + size);
    bytes->calls += 1;
    if (grown == NULL || bytes->calls == bytes->stop_at) {
        bytes->data = grown != NULL ? grown : bytes->data;
        return 1;
    }
    bytes->data = grown;
    memcpy(bytes->data + bytes->size, data, size);
    bytes->size += size;
    return 0;
}

static int32_t give(void *user_data, uint8_t *data, size_t capacity, size_t *out_size) {
    Bytes *bytes = (Bytes *)user_data;
    size_t left = bytes->size - bytes->at, size = left < capacity ? left : capacity;
    size = size < 5000 ? size : 5000; /* fewer than asked for */
    bytes->calls += 1;
    if (bytes->calls == bytes->stop_at) return 1;
    memcpy(data, bytes->data + bytes->at, size);
    bytes->at += size;
    *out_size = bytes->lie != 0 ? capacity + bytes->lie : size;
    return 0;
}

int main(int argc, char **argv) {
    LemmyModel *model = load(argv);
    LemmySession *session = start(model, NULL), *later = NULL;
    LemmyCancel *cancel = lemmy_cancel_new();
    Bytes bytes = {NULL, 0, 0, 0, 0, 0}, part = {NULL, 0, 0, 0, 1, 0};
    LemmySessionInfo info;
    Reply here;
    info.struct_size = sizeof info;
    CHECK(argc == 3);
    ask(session, "My name is Ada.");
    OK(lemmy_session_save_file(session, path_in(argv, "ada.session"), &error));
    OK(lemmy_session_save(session, take, &bytes, &error));
    CHECK(bytes.size > 1000);
    here = ask(session, "What is my name?");
    CHECK(strstr(here.text, "Ada") != NULL);

    OK(lemmy_model_restore_file(model, path_in(argv, "ada.session"), NULL, &later, &error));
    CHECK(strcmp(ask(later, "What is my name?").text, here.text) == 0);
    lemmy_session_free(later);
    OK(lemmy_model_restore(model, give, &bytes, cancel, &later, &error));
    OK(lemmy_session_info(later, &info, &error));
    CHECK(info.messages == 2 && info.position > 0);
    lemmy_cancel_trigger(cancel);
    CHECK(ask(later, "What is my name?").reason == LEMMY_FINISH_CANCELLED);
    lemmy_cancel_reset(cancel);
    CHECK(strcmp(ask(later, "What is my name?").text, here.text) == 0);
    lemmy_session_free(later);

    /* stopped by the functions */
    FAILS(LEMMY_E_CANCELLED, "cancelled", lemmy_session_save(session, take, &part, &error));
    CHECK(part.calls == 1 && part.size == 0); /* who has said no is not asked again */
    bytes.at = 0;
    bytes.stop_at = bytes.calls + 2;
    FAILS(LEMMY_E_CANCELLED, "cancelled", lemmy_model_restore(model, give, &bytes, NULL, &later, &error));
    CHECK(later == NULL);
    bytes.stop_at = 0;
    /* a function that says what is not so */
    bytes.at = 0;
    bytes.lie = 1;
    FAILS(LEMMY_E_IO, "room", lemmy_model_restore(model, give, &bytes, NULL, &later, &error));
    bytes.lie = 0;
    /* damaged, cut short, something else */
    bytes.at = 0;
    bytes.data[bytes.size / 2] ^= 1;
    FAILS(LEMMY_E_SESSION, "", lemmy_model_restore(model, give, &bytes, NULL, &later, &error));
    bytes.data[bytes.size / 2] ^= 1;
    bytes.at = 0;
    bytes.size -= 1;
    FAILS(LEMMY_E_SESSION, "", lemmy_model_restore(model, give, &bytes, NULL, &later, &error));
    FAILS(LEMMY_E_SESSION, "", lemmy_model_restore_file(model, argv[2], NULL, &later, &error));
    FAILS(LEMMY_E_IO, "no-such", lemmy_model_restore_file(model, "no-such-file", NULL, &later, &error));
    FAILS(LEMMY_E_IO, "", lemmy_session_save_file(session, argv[1], &error));

    FAILS(LEMMY_E_ARGUMENT, "path", lemmy_session_save_file(session, NULL, &error));
    FAILS(LEMMY_E_ARGUMENT, "session", lemmy_session_save_file(NULL, path_in(argv, "x"), &error));
    FAILS(LEMMY_E_ARGUMENT, "path", lemmy_model_restore_file(model, NULL, NULL, &later, &error));
    FAILS(LEMMY_E_ARGUMENT, "model", lemmy_model_restore_file(NULL, argv[2], NULL, &later, &error));
    FAILS(LEMMY_E_ARGUMENT, "write", lemmy_session_save(session, NULL, NULL, &error));
    FAILS(LEMMY_E_ARGUMENT, "session", lemmy_session_save(NULL, take, &part, &error));
    FAILS(LEMMY_E_ARGUMENT, "read", lemmy_model_restore(model, NULL, NULL, NULL, &later, &error));
    FAILS(LEMMY_E_ARGUMENT, "model", lemmy_model_restore(NULL, give, &bytes, NULL, &later, &error));
    FAILS(LEMMY_E_ARGUMENT, "session", lemmy_model_restore(model, give, &bytes, NULL, NULL, &error));

    free(bytes.data);
    free(part.data);
    lemmy_cancel_release(cancel);
    lemmy_session_free(session);
    lemmy_model_release(model);
    return failures != 0;
}
