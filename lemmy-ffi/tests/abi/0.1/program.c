/* A program of ABI 0.1, with that header: it goes on with the library of today. argv[1]: a folder, argv[2]: a model. */
#include <lemmy.h>

#include <stdio.h>
#include <string.h>

static int failures = 0;

static void check(int holds, const char *what, int line) {
    if (!holds) {
        printf("line %d: %s\n", line, what);
        failures += 1;
    }
}
#define CHECK(x) check((x), #x, __LINE__)

int main(int argc, char **argv) {
    LemmyMemory memory = {sizeof(LemmyMemory), 9, 9, 9, 9};
    LemmyError *error = (LemmyError *)&memory; /* stands for an uninitialised variable */
    uint64_t number = 9;

    CHECK(argc == 3);
    CHECK(lemmy_abi_version() >> 16 == LEMMY_ABI_MAJOR && (lemmy_abi_version() & 0xffff) >= LEMMY_ABI_MINOR);
    CHECK(strlen(lemmy_version()) > 0);
    CHECK(strstr(lemmy_features(), "cpu") != NULL);

    CHECK(strcmp(lemmy_status_name(LEMMY_OK), "Ok") == 0);
    CHECK(strcmp(lemmy_status_name(LEMMY_E_CONTEXT_FULL), "ContextFull") == 0);
    CHECK(strcmp(lemmy_status_name(12345), "Unknown") == 0);

    CHECK(lemmy_error_code(NULL) == LEMMY_OK);
    CHECK(strcmp(lemmy_error_message(NULL), "") == 0);
    CHECK(lemmy_error_value(NULL, LEMMY_VALUE_LIMIT, &number) == 0 && number == 9);
    lemmy_error_free(NULL);

    CHECK(lemmy_model_estimate(argv[2], 512, &memory, &error) == LEMMY_OK && error == NULL);
    CHECK(memory.weights > 1000000 && memory.kv_per_session > 0 && memory.scratch > 0);

    /* a path that does not exist */
    CHECK(lemmy_model_estimate("no-such-file.gguf", 512, &memory, &error) == LEMMY_E_IO);
    CHECK(lemmy_error_code(error) == LEMMY_E_IO);
    CHECK(strstr(lemmy_error_message(error), "no-such-file.gguf") != NULL);
    CHECK(lemmy_error_value(error, LEMMY_VALUE_POSITION, &number) == 0 && number == 9);
    CHECK(lemmy_error_value(error, LEMMY_VALUE_POSITION, NULL) == 0);
    CHECK(memory.weights > 1000000);
    lemmy_error_free(error);

    /* something that is no file, and nobody who wants the error */
    CHECK(lemmy_model_estimate(argv[1], 512, &memory, NULL) != LEMMY_OK);

    /* null and text that is not UTF-8 */
    CHECK(lemmy_model_estimate(NULL, 512, &memory, &error) == LEMMY_E_ARGUMENT);
    CHECK(strstr(lemmy_error_message(error), "path") != NULL);
    lemmy_error_free(error);
    CHECK(lemmy_model_estimate("caf\xe9.gguf", 512, &memory, &error) == LEMMY_E_ARGUMENT);
    CHECK(strstr(lemmy_error_message(error), "UTF-8") != NULL);
    lemmy_error_free(error);

    /* a context that no session can have */
    CHECK(lemmy_model_estimate("no-such-file.gguf", (uint64_t)-1, &memory, &error) == LEMMY_E_ARGUMENT);
    CHECK(strstr(lemmy_error_message(error), "context") != NULL);
    lemmy_error_free(error);

    /* a struct whose size nobody set, and none at all */
    memory.struct_size = 0;
    CHECK(lemmy_model_estimate("no-such-file.gguf", 512, &memory, &error) == LEMMY_E_ARGUMENT);
    CHECK(strstr(lemmy_error_message(error), "struct_size") != NULL);
    lemmy_error_free(error);
    CHECK(lemmy_model_estimate("no-such-file.gguf", 512, NULL, &error) == LEMMY_E_ARGUMENT);
    lemmy_error_free(error);

    return failures != 0;
}
