/* Version, errors, buffers, cancel, pools, devices. */
#include "support.h"

#include <signal.h>

static LemmyCancel *for_signals;

static void on_signal(int number) {
    (void)number;
    lemmy_cancel_trigger(for_signals);
}

static void version(void) {
    CHECK(lemmy_abi_version() == (LEMMY_ABI_MAJOR << 16 | LEMMY_ABI_MINOR));
    CHECK(strlen(lemmy_version()) > 0);
    CHECK(strncmp(lemmy_features(), "cpu", 3) == 0);
}

static void errors(void) {
    uint64_t number = 9;
    CHECK(strcmp(lemmy_status_name(LEMMY_OK), "Ok") == 0);
    CHECK(strcmp(lemmy_status_name(LEMMY_E_BUSY), "Busy") == 0);
    CHECK(strcmp(lemmy_status_name(LEMMY_E_CONTEXT_FULL), "ContextFull") == 0);
    CHECK(strcmp(lemmy_status_name(12345), "Unknown") == 0);
    CHECK(lemmy_error_code(NULL) == LEMMY_OK);
    CHECK(strcmp(lemmy_error_message(NULL), "") == 0);
    CHECK(lemmy_error_value(NULL, LEMMY_VALUE_LIMIT, &number) == 0 && number == 9);
    lemmy_error_free(NULL);
}

static void buffers(void) {
    LemmyBuffer *json = NULL;
    CHECK(lemmy_buffer_size(NULL) == 0 && lemmy_buffer_data(NULL)[0] == 0);
    lemmy_buffer_free(NULL);
    OK(lemmy_devices(&json, &error));
    CHECK(lemmy_buffer_size(json) == strlen((const char *)lemmy_buffer_data(json)));
    CHECK(strstr((const char *)lemmy_buffer_data(json), "[{\"backend\":\"cpu\",\"index\":0,\"name\":\"cpu (") != NULL);
    lemmy_buffer_free(json);
    FAILS(LEMMY_E_ARGUMENT, "json", lemmy_devices(NULL, &error));
}

static void cancels(void) {
    LemmyCancel *cancel = lemmy_cancel_new();
    CHECK(lemmy_cancel_is_triggered(cancel) == 0);
    for_signals = cancel;
    signal(SIGTERM, on_signal);
    raise(SIGTERM);
    CHECK(lemmy_cancel_is_triggered(cancel) == 1);
    lemmy_cancel_reset(cancel);
    CHECK(lemmy_cancel_is_triggered(cancel) == 0);
    CHECK(lemmy_cancel_retain(cancel) == cancel);
    lemmy_cancel_release(cancel);
    lemmy_cancel_trigger(cancel);
    CHECK(lemmy_cancel_is_triggered(cancel) == 1);
    lemmy_cancel_release(cancel);

    lemmy_cancel_trigger(NULL);
    lemmy_cancel_reset(NULL);
    lemmy_cancel_release(NULL);
    CHECK(lemmy_cancel_is_triggered(NULL) == 0 && lemmy_cancel_retain(NULL) == NULL);
}

static void pools(void) {
    LemmyPool *pool = NULL, *first;
    LemmyPoolOptions options;
    uint32_t cpus[1] = {0};
    CHECK(lemmy_pool_options_init(NULL, sizeof options) == LEMMY_E_ARGUMENT);
    CHECK(lemmy_pool_options_init(&options, 1) == LEMMY_E_ARGUMENT);
    CHECK(lemmy_pool_options_init(&options, sizeof options) == LEMMY_OK);
    CHECK(options.struct_size == sizeof options && options.threads == LEMMY_DEFAULT && options.cpu_count == 0);

    OK(lemmy_pool_new(NULL, &pool, &error));
    CHECK(lemmy_pool_threads(pool) >= 1);
    CHECK(lemmy_pool_retain(pool) == pool);
    lemmy_pool_release(pool);
    CHECK(lemmy_pool_threads(pool) >= 1);
    lemmy_pool_release(pool);

    options.threads = 2;
    options.spin_us = 0;
    options.cpus = cpus;
    options.cpu_count = 1;
    OK(lemmy_pool_new(&options, &pool, &error));
    CHECK(lemmy_pool_threads(pool) == 2);
    lemmy_pool_release(pool);

    first = pool;
    options.threads = 0;
    FAILS(LEMMY_E_ARGUMENT, "threads", lemmy_pool_new(&options, &pool, &error));
    CHECK(pool == NULL && first != NULL);
    options.threads = 1;
    options.cpus = NULL;
    FAILS(LEMMY_E_ARGUMENT, "cpus", lemmy_pool_new(&options, &pool, &error));
    memset(&options, 0, sizeof options);
    FAILS(LEMMY_E_ARGUMENT, "_init", lemmy_pool_new(&options, &pool, &error));
    FAILS(LEMMY_E_ARGUMENT, "pool", lemmy_pool_new(NULL, NULL, &error));
    CHECK(lemmy_pool_threads(NULL) == 0 && lemmy_pool_retain(NULL) == NULL);
    lemmy_pool_release(NULL);
}

int main(void) {
    version();
    errors();
    buffers();
    cancels();
    pools();
    return failures != 0;
}
