/*
 * A conversation in C++17: what is typed goes to the model, what it says is shown as it comes. Ctrl-C stops an answer.
 *
 *     c++ -std=c++17 chat.cpp $(pkg-config --cflags --libs lemmy) -o chat
 *     ./chat MODEL.gguf [TEMPERATURE [SYSTEM]]
 *
 * TEMPERATURE 0 gives the same answers each time; "-" and none at all what the model recommends. SYSTEM: instructions.
 */
#include <lemmy.hpp>

#include <csignal>
#include <iostream>

namespace {

LemmyCancel *on_interrupt = nullptr; // a signal handler has no other way to it

void answer(lemmy::Session &session, const std::string &line, const lemmy::GenerateOptions &options) {
    lemmy::Reply reply = session.send(line, options);
    for (const lemmy::Event &event : reply) {
        switch (event.kind) {
        case lemmy::EventKind::text: std::cout << event.text << std::flush; break;
        case lemmy::EventKind::warning: std::cerr << "note: " << event.text << '\n'; break;
        default: break; // an answer without tools or thoughts has nothing else to show
        }
    }
    std::cout << '\n';
    const LemmyFinish finish = reply.finish();
    if (finish.reason == LEMMY_FINISH_CANCELLED) std::cerr << "(stopped)\n";
    if (finish.reason == LEMMY_FINISH_CONTEXT_FULL) std::cerr << "(no room left)\n";
}

} // namespace

int main(int argc, char **argv) try {
    if (argc < 2) {
        std::cerr << "usage: chat MODEL.gguf [TEMPERATURE [SYSTEM]]\n";
        return 2;
    }
    lemmy::Model model(argv[1], lemmy::ModelOptions().on_progress([](auto stage, auto done, auto total) {
        if (stage == LEMMY_STAGE_WEIGHTS) std::cerr << "\rlayers: " << done << '/' << total << std::flush;
        return true;
    }));
    std::cerr << '\r' << model.info().name << " on " << model.info().backend << '\n';

    lemmy::Cancel cancel;
    on_interrupt = cancel.get();
    std::signal(SIGINT, [](int) { lemmy_cancel_trigger(on_interrupt); });

    lemmy::SessionOptions options;
    options.cancel(cancel);
    if (argc > 3) options.system(argv[3]);
    lemmy::Session session(model, options);

    lemmy::SamplerOptions sampler;
    if (argc > 2 && std::string_view(argv[2]) != "-") sampler.temperature = std::stof(argv[2]);
    const auto wishes = lemmy::GenerateOptions().sampler(sampler);
    for (std::string line; std::getline(std::cin, line);) {
        cancel.reset();
        answer(session, line, wishes);
    }
} catch (const lemmy::Error &error) {
    std::cerr << error.name() << ": " << error.what() << '\n';
    return 1;
} catch (const std::exception &error) {
    std::cerr << error.what() << '\n';
    return 1;
}
