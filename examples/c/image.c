/*
 * Shows a picture to a model and asks about it.
 *
 *     cc image.c $(pkg-config --cflags --libs lemmy) -o image
 *     ./image MODEL.gguf MMPROJ.gguf PICTURE "What is in the picture?"
 *
 * MMPROJ is the file with the model's vision tower. PICTURE is a PNG, JPEG, WebP, GIF or BMP file.
 */
#include <lemmy.h>

#include <stdio.h>
#include <stdlib.h>

static LemmyError *error;

static int failed(LemmyStatus status) {
    if (status == LEMMY_OK) return 0;
    fprintf(stderr, "%s: %s\n", lemmy_status_name(status), lemmy_error_message(error));
    lemmy_error_free(error);
    return 1;
}

/* Reads a picture file; NULL on failure. */
static LemmyImage *read_image(const char *path) {
    LemmyImage *image = NULL;
    uint8_t *bytes = NULL;
    long size = -1;
    FILE *file = fopen(path, "rb");
    if (file && fseek(file, 0, SEEK_END) == 0) size = ftell(file);
    if (size > 0) bytes = malloc((size_t)size);
    if (bytes) {
        rewind(file);
        if (fread(bytes, 1, (size_t)size, file) == (size_t)size)
            failed(lemmy_image_from_bytes(bytes, (size_t)size, NULL, &image, &error));
    } else {
        perror(path);
    }
    free(bytes);
    if (file) fclose(file);
    return image;
}

static int32_t show(void *user_data, const LemmyEvent *event) {
    if (event->kind == LEMMY_EVENT_TEXT) fwrite(event->text, 1, event->text_len, user_data);
    return 0;
}

int main(int argc, char **argv) {
    if (argc < 5) {
        fputs("usage: image MODEL.gguf MMPROJ.gguf PICTURE QUESTION\n", stderr);
        return 2;
    }
    LemmyModel *model = NULL;
    LemmySession *session = NULL;
    LemmyModelOptions options;
    lemmy_model_options_init(&options, sizeof options);
    options.mmproj_path = argv[2];
    LemmySamplerOptions sampler; /* no chance: the same picture gives the same answer */
    lemmy_sampler_options_init(&sampler, sizeof sampler);
    sampler.temperature = 0;
    LemmyGenerateOptions reply;
    lemmy_generate_options_init(&reply, sizeof reply);
    reply.sampler = &sampler;
    int result = 1;
    LemmyImage *image = read_image(argv[3]);
    if (!image) goto done;
    if (failed(lemmy_model_load(argv[1], &options, &model, &error))) goto done;
    if (failed(lemmy_session_new(model, NULL, &session, &error))) goto done;
    if (failed(lemmy_session_send(session, argv[4], LEMMY_NUL_TERMINATED, &image, 1, &reply, &error))) goto done;
    if (failed(lemmy_session_run(session, show, stdout, NULL, &error))) goto done;
    putchar('\n');
    result = 0;
done:
    lemmy_session_free(session);
    lemmy_model_release(model);
    lemmy_image_release(image);
    return result;
}
