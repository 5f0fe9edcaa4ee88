/*
 * Prints which library this is; with a model file, also how much memory that takes.
 *
 *     cc version.c -I../../include -L../../target/release -llemmy -o version
 *     LD_LIBRARY_PATH=../../target/release ./version [MODEL.gguf [CONTEXT]]
 */
#include <lemmy.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static int estimate(const char *path, uint64_t context) {
    LemmyMemory memory = {sizeof(LemmyMemory), 0, 0, 0, 0, 0};
    LemmyError *error = NULL;
    LemmyStatus status = lemmy_model_estimate(path, context, &memory, &error);
    if (status != LEMMY_OK) {
        fprintf(stderr, "%s: %s\n", lemmy_status_name(status), lemmy_error_message(error));
        lemmy_error_free(error);
        return 1;
    }
    printf("weights %" PRIu64 ", engine %" PRIu64 ", cache of %" PRIu64 " tokens %" PRIu64 ", scratch %" PRIu64 "\n",
           memory.weights, memory.engine, context, memory.kv_per_session, memory.scratch);
    return 0;
}

int main(int argc, char **argv) {
    uint32_t abi = lemmy_abi_version();
    if (abi >> 16 != LEMMY_ABI_MAJOR || (abi & 0xffff) < LEMMY_ABI_MINOR) {
        fprintf(stderr, "this library does not fit the header\n");
        return 1;
    }
    printf("lemmy %s, ABI %u.%u, built with: %s\n", lemmy_version(), (unsigned)(abi >> 16), (unsigned)(abi & 0xffff),
           lemmy_features());
    return argc > 1 ? estimate(argv[1], argc > 2 ? strtoull(argv[2], NULL, 10) : 4096) : 0;
}
