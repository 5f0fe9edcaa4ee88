/* An app that has both in it: each library does its own work. */
#include "../c/support.h"

extern int ggml_calls;
#define NAMES(each)                                                                                                    \
    each(ggml_init) each(ggml_free) each(ggml_mul_mat) each(ggml_time_init) each(ggml_backend_cpu_init)                \
        each(gguf_init_from_file) each(quantize_row_q4_K) each(quantize_row_q8_0) each(dequantize_row_q4_K)            \
            each(ggml_vec_dot_q4_K_q8_K) each(llama_backend_init) each(llama_model_load_from_file) each(llama_decode)  \
                each(llama_tokenize) each(llama_sampler_sample)
#define DECLARE(name) int name(void);
#define CALL(name) CHECK(name() == ++expected);
NAMES(DECLARE)

int main(int argc, char **argv) {
    int expected = 0;
    LemmyModel *model = load(argv);
    LemmySession *session = start(model, NULL);
    CHECK(argc == 3);
    CHECK(strstr(ask(session, "What is 12 + 30?").text, "42") != NULL);
    CHECK(ggml_calls == 0);
    NAMES(CALL)
    lemmy_session_free(session);
    lemmy_model_release(model);
    return failures != 0;
}
