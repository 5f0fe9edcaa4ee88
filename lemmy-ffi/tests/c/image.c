/* Pictures: made, refused, and shown to a model that has no eye. */
#include "support.h"

/* A PNG of one pixel. */
static const uint8_t png[] = {
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52, 0x00, 0x00,
    0x00, 0x01, 0x00, 0x00, 0x00, 0x01, 0x08, 0x00, 0x00, 0x00, 0x00, 0x3a, 0x7e, 0x9b, 0x55, 0x00, 0x00, 0x00,
    0x0a, 0x49, 0x44, 0x41, 0x54, 0x78, 0x9c, 0x63, 0x68, 0x00, 0x00, 0x00, 0x82, 0x00, 0x81, 0x77, 0xcd, 0x72,
    0xb6, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82};

int main(int argc, char **argv) {
    static uint8_t pixels[2 * 11] = {0};
    LemmyImage *image = NULL, *shown[2];
    LemmyImageOptions options;
    LemmyModel *model = load(argv);
    LemmySession *session = start(model, NULL);
    CHECK(argc == 3);

    CHECK(lemmy_image_options_init(&options, sizeof options) == LEMMY_OK);
    CHECK(options.soft_tokens == LEMMY_DEFAULT);
    options.soft_tokens = 70;
    OK(lemmy_image_from_bytes(png, sizeof png, &options, &image, &error));
    CHECK(lemmy_image_retain(image) == image);
    lemmy_image_release(image);
    shown[0] = image;
    OK(lemmy_image_from_rgb(pixels, 3, 2, 11, NULL, &image, &error));
    shown[1] = image;

    /* this model was loaded without a vision tower */
    FAILS(LEMMY_E_UNSUPPORTED, "",
          lemmy_session_send(session, "What is this?", LEMMY_NUL_TERMINATED, shown, 2, NULL, &error));
    FAILS(LEMMY_E_UNSUPPORTED, "",
          lemmy_session_sync(session, "[{\"role\":\"user\",\"content\":[{\"type\":\"image\",\"index\":1}]}]",
                             LEMMY_NUL_TERMINATED, shown, 2, NULL, NULL, &error));
    FAILS(LEMMY_E_ARGUMENT, "index",
          lemmy_session_add(session, "[{\"role\":\"user\",\"content\":[{\"type\":\"image\",\"index\":2}]}]",
                            LEMMY_NUL_TERMINATED, shown, 2, &error));
    FAILS(LEMMY_E_ARGUMENT, "images", lemmy_session_send(session, "Hi", 2, NULL, 2, NULL, &error));
    lemmy_image_release(shown[0]);
    shown[0] = NULL;
    FAILS(LEMMY_E_ARGUMENT, "image", lemmy_session_send(session, "Hi", 2, shown, 2, NULL, &error));
    lemmy_image_release(shown[1]);

    FAILS(LEMMY_E_IMAGE, "", lemmy_image_from_bytes(png, 20, NULL, &image, &error));
    CHECK(image == NULL);
    FAILS(LEMMY_E_IMAGE, "", lemmy_image_from_bytes(pixels, sizeof pixels, NULL, &image, &error));
    FAILS(LEMMY_E_IMAGE, "", lemmy_image_from_bytes(NULL, 0, NULL, &image, &error));
    FAILS(LEMMY_E_ARGUMENT, "data", lemmy_image_from_bytes(NULL, 4, NULL, &image, &error));
    FAILS(LEMMY_E_ARGUMENT, "image", lemmy_image_from_bytes(png, sizeof png, NULL, NULL, &error));
    options.soft_tokens = 71;
    FAILS(LEMMY_E_ARGUMENT, "soft_tokens", lemmy_image_from_bytes(png, sizeof png, &options, &image, &error));
    FAILS(LEMMY_E_ARGUMENT, "stride", lemmy_image_from_rgb(pixels, 3, 2, 8, NULL, &image, &error));
    FAILS(LEMMY_E_ARGUMENT, "pixel", lemmy_image_from_rgb(pixels, 0, 2, 8, NULL, &image, &error));
    FAILS(LEMMY_E_ARGUMENT, "pixels", lemmy_image_from_rgb(NULL, 3, 2, 11, NULL, &image, &error));
    FAILS(LEMMY_E_IMAGE, "at most", lemmy_image_from_rgb(pixels, 70000, 70000, 210000, NULL, &image, &error));
    CHECK(lemmy_image_options_init(&options, 4) == LEMMY_E_ARGUMENT);
    lemmy_image_release(NULL);
    CHECK(lemmy_image_retain(NULL) == NULL);

    lemmy_session_free(session);
    lemmy_model_release(model);
    return failures != 0;
}
