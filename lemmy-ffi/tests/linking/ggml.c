/* Stands for ggml and llama.cpp: their names, and who was called. */
int ggml_calls = 0;

#define STANDS_FOR(name)                                                                                               \
    int name(void);                                                                                                    \
    int name(void) { return ++ggml_calls; }

STANDS_FOR(ggml_init)
STANDS_FOR(ggml_free)
STANDS_FOR(ggml_mul_mat)
STANDS_FOR(ggml_time_init)
STANDS_FOR(ggml_backend_cpu_init)
STANDS_FOR(gguf_init_from_file)
STANDS_FOR(quantize_row_q4_K)
STANDS_FOR(quantize_row_q8_0)
STANDS_FOR(dequantize_row_q4_K)
STANDS_FOR(ggml_vec_dot_q4_K_q8_K)
STANDS_FOR(llama_backend_init)
STANDS_FOR(llama_model_load_from_file)
STANDS_FOR(llama_decode)
STANDS_FOR(llama_tokenize)
STANDS_FOR(llama_sampler_sample)
