/* A forked process: it cannot use what its parent has, and may begin anew. */
#include "support.h"

#include <sys/wait.h>
#include <unistd.h>

/* What the child does: gives its copies back, and loads the model itself. */
static void child(char **argv, LemmyModel *model, LemmySession *session) {
    const uint32_t id = 20;
    FAILS(LEMMY_E_FORKED, "fork", lemmy_session_prefill(session, &id, 1, NULL, NULL, &error));
    lemmy_session_free(session);
    lemmy_model_release(model);
    model = load(argv);
    session = start(model, NULL);
    OK(lemmy_session_prefill(session, &id, 1, NULL, NULL, &error));
    lemmy_session_free(session);
    lemmy_model_release(model);
}

int main(int argc, char **argv) {
    LemmyModel *model = load(argv);
    LemmySession *session = start(model, NULL);
    int status = -1;
    pid_t forked;
    CHECK(argc == 3);
    CHECK(strstr(ask(session, "What is 12 + 30?").text, "42") != NULL);
    forked = fork();
    CHECK(forked >= 0);
    if (forked == 0) {
        child(argv, model, session);
        fflush(stdout);
        _exit(failures != 0);
    }
    CHECK(waitpid(forked, &status, 0) == forked && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(strstr(ask(session, "What is 12 + 30?").text, "42") != NULL);
    lemmy_session_free(session);
    lemmy_model_release(model);
    return failures != 0;
}
