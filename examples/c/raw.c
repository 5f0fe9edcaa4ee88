/*
 * One's own loop over tokens and logits: writes on from a text, always with the most probable token, and shows for each
 * how probable it was. No chat template, no sampler, no hidden step.
 *
 *     cc raw.c $(pkg-config --cflags --libs lemmy) -lm -o raw
 *     ./raw MODEL.gguf "Once upon a time" [TOKENS]
 *
 * Control tokens may be spelled in the text, since it comes from whoever runs this program:
 *
 *     ./raw MODEL.gguf "<bos><|turn>user
 *     Why is the sky blue?<turn|>
 *     <|turn>model
 *     "
 */
#include <lemmy.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static LemmyError *error;

static int failed(LemmyStatus status) {
    if (status == LEMMY_OK) return 0;
    fprintf(stderr, "%s: %s\n", lemmy_status_name(status), lemmy_error_message(error));
    lemmy_error_free(error);
    return 1;
}

/* Tokens of a text, to be freed; NULL on failure. */
static uint32_t *tokenize(LemmyModel *model, const char *text, size_t *count) {
    const uint32_t flags = LEMMY_TOKENIZE_PARSE_CONTROL | LEMMY_TOKENIZE_ADD_BOS;
    LemmyStatus status = lemmy_model_tokenize(model, text, LEMMY_NUL_TERMINATED, flags, NULL, 0, count, NULL);
    if (status != LEMMY_E_BUFFER) return NULL; /* nothing to read */
    uint32_t *ids = malloc(*count * sizeof *ids);
    if (ids && failed(lemmy_model_tokenize(model, text, LEMMY_NUL_TERMINATED, flags, ids, *count, count, &error))) {
        free(ids);
        return NULL;
    }
    return ids;
}

/* The most probable token, and its probability. */
static uint32_t best(const float *logits, size_t count, double *probability) {
    size_t top = 0;
    for (size_t id = 1; id < count; id++)
        if (logits[id] > logits[top]) top = id;
    double sum = 0;
    for (size_t id = 0; id < count; id++) sum += exp((double)logits[id] - (double)logits[top]);
    *probability = 1 / sum;
    return (uint32_t)top;
}

/* Writes on after `ids`; returns 0 on success. */
static int write_on(LemmyModel *model, LemmySession *session, const uint32_t *ids, size_t count, unsigned most) {
    LemmyDecoder *decoder = NULL;
    if (failed(lemmy_decoder_new(model, &decoder, &error))) return 1;
    int result = 1;
    uint32_t next = 0;
    const char *text = NULL;
    size_t size = 0;
    for (unsigned said = 0;; said++) {
        float *logits = NULL;
        size_t vocab = 0;
        double probability = 0;
        uint32_t flags = 0;
        if (failed(lemmy_session_forward(session, ids, count, &logits, &vocab, &error))) goto done;
        next = best(logits, vocab, &probability);
        if (failed(lemmy_model_token_flags(model, next, &flags, &error))) goto done;
        if (flags & LEMMY_TOKEN_END || said == most) break;
        if (failed(lemmy_decoder_push(decoder, next, &text, &size, &error))) goto done;
        fwrite(text, 1, size, stdout);
        fprintf(stderr, "%6u  %.4f\n", (unsigned)next, probability);
        ids = &next;
        count = 1;
    }
    if (failed(lemmy_decoder_finish(decoder, &text, &size, &error))) goto done;
    fwrite(text, 1, size, stdout);
    putchar('\n');
    result = 0;
done:
    lemmy_decoder_free(decoder);
    return result;
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fputs("usage: raw MODEL.gguf TEXT [TOKENS]\n", stderr);
        return 2;
    }
    LemmyModel *model = NULL;
    LemmySession *session = NULL;
    uint32_t *ids = NULL;
    size_t count = 0;
    int result = 1;
    if (failed(lemmy_model_load(argv[1], NULL, &model, &error))) goto done;
    if (failed(lemmy_session_new(model, NULL, &session, &error))) goto done;
    ids = tokenize(model, argv[2], &count);
    if (ids) result = write_on(model, session, ids, count, argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 200);
done:
    free(ids);
    lemmy_session_free(session);
    lemmy_model_release(model);
    return result;
}
