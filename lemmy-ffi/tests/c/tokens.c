/* Text to tokens and back, one by one and all at once. */
#include "support.h"

static void all_at_once(LemmyModel *model) {
    static const char *text = "Grüße from <|turn> 12 + 30";
    uint32_t ids[64], marked[64], one = 9;
    char back[128];
    size_t count = 9, marks = 9, need = 9, len = 9;
    uint64_t needed = 0, capacity = 9;

    OK(lemmy_model_tokenize(model, text, LEMMY_NUL_TERMINATED, 0, ids, 64, &count, &error));
    CHECK(count > 3 && count < 64);
    OK(lemmy_model_detokenize(model, ids, count, 0, back, sizeof back, &len, &error));
    CHECK(strcmp(back, text) == 0 && len == strlen(text));

    /* control strings are text unless asked for */
    OK(lemmy_model_tokenize(model, text, strlen(text), LEMMY_TOKENIZE_PARSE_CONTROL | LEMMY_TOKENIZE_ADD_BOS, marked,
                            64, &marks, &error));
    CHECK(marks < count + 1);
    OK(lemmy_model_detokenize(model, marked, marks, 0, back, sizeof back, &len, &error));
    CHECK(strcmp(back, "Grüße from  12 + 30") == 0);
    OK(lemmy_model_detokenize(model, marked, marks, LEMMY_DETOKENIZE_CONTROL, back, sizeof back, &len, &error));
    CHECK(strncmp(back, "<bos>Gr", 7) == 0 && strcmp(back + 5, text) == 0);

    /* too small: the need, and nothing written */
    CHECK(lemmy_model_tokenize(model, text, strlen(text), 0, &one, 1, &need, &error) == LEMMY_E_BUFFER);
    CHECK(need == count && one == 9);
    CHECK(lemmy_error_value(error, LEMMY_VALUE_NEEDED, &needed) == 1 && needed == count);
    CHECK(lemmy_error_value(error, LEMMY_VALUE_CAPACITY, &capacity) == 1 && capacity == 1);
    lemmy_error_free(error);
    FAILS(LEMMY_E_BUFFER, "ids", lemmy_model_tokenize(model, text, strlen(text), 0, NULL, 0, &need, &error));
    CHECK(need == count);
    FAILS(LEMMY_E_BUFFER, "text", lemmy_model_detokenize(model, ids, count, 0, back, strlen(text), &need, &error));
    CHECK(need == strlen(text));
    OK(lemmy_model_tokenize(model, "", 0, 0, NULL, 0, &need, &error));
    CHECK(need == 0);
    OK(lemmy_model_detokenize(model, NULL, 0, 0, back, 1, &need, &error));
    CHECK(need == 0 && back[0] == 0);

    FAILS(LEMMY_E_ARGUMENT, "flags", lemmy_model_tokenize(model, text, 4, 8, ids, 64, &count, &error));
    FAILS(LEMMY_E_ARGUMENT, "text", lemmy_model_tokenize(model, NULL, 4, 0, ids, 64, &count, &error));
    FAILS(LEMMY_E_ARGUMENT, "byte at 1", lemmy_model_tokenize(model, "a\xff", 2, 0, ids, 64, &count, &error));
    FAILS(LEMMY_E_ARGUMENT, "out_count", lemmy_model_tokenize(model, text, 4, 0, ids, 64, NULL, &error));
    FAILS(LEMMY_E_ARGUMENT, "model", lemmy_model_tokenize(NULL, text, 4, 0, ids, 64, &count, &error));
    FAILS(LEMMY_E_ARGUMENT, "ids", lemmy_model_tokenize(model, text, 4, 0, NULL, 64, &count, &error));
    ids[0] = LEMMY_NO_TOKEN;
    FAILS(LEMMY_E_ARGUMENT, "vocabulary", lemmy_model_detokenize(model, ids, 1, 0, back, sizeof back, &len, &error));
    FAILS(LEMMY_E_ARGUMENT, "flags", lemmy_model_detokenize(model, marked, 1, 2, back, sizeof back, &len, &error));
    FAILS(LEMMY_E_ARGUMENT, "ids", lemmy_model_detokenize(model, NULL, 1, 0, back, sizeof back, &len, &error));
}

static void single(LemmyModel *model) {
    uint32_t turn = 0, end = 0, none = 0, flags = 0;
    const uint8_t *bytes = NULL;
    size_t len = 0;
    OK(lemmy_model_token_find(model, "<|turn>", LEMMY_NUL_TERMINATED, &turn, &error));
    OK(lemmy_model_token_find(model, "<turn|>", 7, &end, &error));
    OK(lemmy_model_token_find(model, "no such token at all", LEMMY_NUL_TERMINATED, &none, &error));
    CHECK(turn != LEMMY_NO_TOKEN && end != LEMMY_NO_TOKEN && none == LEMMY_NO_TOKEN);
    OK(lemmy_model_token_flags(model, turn, &flags, &error));
    CHECK(flags == (LEMMY_TOKEN_CONTROL | LEMMY_TOKEN_SUPPRESSED));
    OK(lemmy_model_token_flags(model, end, &flags, &error));
    CHECK(flags == (LEMMY_TOKEN_CONTROL | LEMMY_TOKEN_END));
    OK(lemmy_model_token_bytes(model, turn, &bytes, &len, &error));
    CHECK(len == 7 && memcmp(bytes, "<|turn>", 7) == 0);

    FAILS(LEMMY_E_ARGUMENT, "vocabulary", lemmy_model_token_bytes(model, none, &bytes, &len, &error));
    CHECK(bytes == NULL && len == 0);
    FAILS(LEMMY_E_ARGUMENT, "vocabulary", lemmy_model_token_flags(model, none, &flags, &error));
    FAILS(LEMMY_E_ARGUMENT, "out_flags", lemmy_model_token_flags(model, turn, NULL, &error));
    FAILS(LEMMY_E_ARGUMENT, "out", lemmy_model_token_bytes(model, turn, NULL, &len, &error));
    FAILS(LEMMY_E_ARGUMENT, "text", lemmy_model_token_find(model, NULL, 1, &turn, &error));
    FAILS(LEMMY_E_ARGUMENT, "out_id", lemmy_model_token_find(model, "a", 1, NULL, &error));
}

/* A character of four bytes comes whole or not at all. */
static void one_by_one(LemmyModel *model) {
    LemmyDecoder *decoder = NULL;
    uint32_t ids[16];
    size_t count = 0, i, len = 9;
    const char *out = NULL;
    char text[32] = "";
    OK(lemmy_model_tokenize(model, "\xf0\x9f\xa6\x99!", LEMMY_NUL_TERMINATED, 0, ids, 16, &count, &error));
    CHECK(count > 2);
    OK(lemmy_decoder_new(model, &decoder, &error));
    for (i = 0; i < count; i++) {
        OK(lemmy_decoder_push(decoder, ids[i], &out, &len, &error));
        CHECK(strlen(out) == len && (len == 0 || i + 2 >= count));
        strcat(text, out);
    }
    CHECK(strcmp(text, "\xf0\x9f\xa6\x99!") == 0);
    OK(lemmy_decoder_finish(decoder, &out, &len, &error));
    CHECK(len == 0 && out[0] == 0);
    OK(lemmy_decoder_push(decoder, ids[0], &out, &len, &error));
    OK(lemmy_decoder_finish(decoder, &out, &len, &error));
    CHECK(strcmp(out, "\xef\xbf\xbd") == 0);
    FAILS(LEMMY_E_ARGUMENT, "out_len", lemmy_decoder_push(decoder, ids[0], &out, NULL, &error));
    FAILS(LEMMY_E_ARGUMENT, "out", lemmy_decoder_finish(decoder, NULL, &len, &error));
    lemmy_decoder_free(decoder);
    lemmy_decoder_free(NULL);
    FAILS(LEMMY_E_ARGUMENT, "decoder", lemmy_decoder_push(NULL, ids[0], &out, &len, &error));
    FAILS(LEMMY_E_ARGUMENT, "decoder", lemmy_decoder_finish(NULL, &out, &len, &error));
    FAILS(LEMMY_E_ARGUMENT, "model", lemmy_decoder_new(NULL, &decoder, &error));
    CHECK(decoder == NULL);
}

int main(int argc, char **argv) {
    LemmyModel *model = load(argv);
    CHECK(argc == 3);
    all_at_once(model);
    single(model);
    one_by_one(model);
    lemmy_model_release(model);
    return failures != 0;
}
