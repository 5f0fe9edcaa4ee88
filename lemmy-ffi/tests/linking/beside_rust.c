/* An app with two libraries in Rust. */
#include "../c/support.h"

int other_panics(void);

int main(int argc, char **argv) {
    LemmyModel *model = load(argv);
    LemmySession *session = start(model, NULL);
    CHECK(argc == 3);
    CHECK(other_panics() == 1);
    CHECK(strstr(ask(session, "What is 12 + 30?").text, "42") != NULL);
    CHECK(other_panics() == 2);
    lemmy_session_free(session);
    lemmy_model_release(model);
    return failures != 0;
}
