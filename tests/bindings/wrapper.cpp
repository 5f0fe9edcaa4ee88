/* Every class of lemmy.hpp against a model file (Lemmy Nano): `wrapper MODEL.gguf FOLDER` */
#include <lemmy.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#if __cplusplus >= 202002L
#include <ranges>
#endif
#include <string>
#include <type_traits>

namespace {

void require(bool holds, const char *what, int line) {
    if (holds) return;
    std::fprintf(stderr, "line %d: %s\n", line, what);
    std::exit(1);
}
#define REQUIRE(condition) require(condition, #condition, __LINE__)

/* Whether this throws such an exception, and that it is the right one. */
template <class Exception, class Call, class Check> bool throws(Call &&call, Check &&check) {
    try {
        call();
    } catch (const Exception &exception) {
        return check(exception);
    }
    return false;
}

template <class Call> bool fails(LemmyStatus code, Call &&call) {
    return throws<lemmy::Error>(call, [&](const lemmy::Error &error) { return error.code() == code && *error.what(); });
}

struct Mine {
    int number;
};

const auto is_mine = [](const Mine &mine) { return mine.number == 7; };
const char QUESTION[] = "What is 12 + 30?";

lemmy::GenerateOptions greedy() {
    lemmy::SamplerOptions sampler;
    sampler.temperature = 0;
    return lemmy::GenerateOptions().sampler(sampler);
}

void loading(const std::string &path) {
    REQUIRE(fails(LEMMY_E_IO, [] { lemmy::Model model("no/such/file.gguf"); }));
    int calls = 0;
    const auto count = [&](auto, auto, auto) { return ++calls > 0; };
    lemmy::Model(path, lemmy::ModelOptions().pool(lemmy::Pool(1)).on_progress(count));
    REQUIRE(calls > 3);
    const auto stop = lemmy::ModelOptions().on_progress([](auto, auto, auto) { return false; });
    REQUIRE(fails(LEMMY_E_CANCELLED, [&] { lemmy::Model model(path, stop); }));
    const auto fail = lemmy::ModelOptions().on_progress([](auto, auto, auto) -> bool { throw Mine{7}; });
    REQUIRE(throws<Mine>([&] { lemmy::Model model(path, fail); }, is_mine));
    lemmy::Cancel cancel;
    cancel.trigger();
    REQUIRE(fails(LEMMY_E_CANCELLED, [&] { lemmy::Model model(path, lemmy::ModelOptions().cancel(cancel)); }));
    cancel.reset();
    REQUIRE(!cancel.is_triggered());
    REQUIRE(lemmy::Model::estimate(path, 4096).kv_per_session > 0);
    REQUIRE(lemmy::devices().find("cpu") != std::string::npos);
}

void facts_and_tokens(const lemmy::Model &model) {
    REQUIRE(std::string(model.info().architecture) == "gemma4" && model.info().vocab == 2048);
    REQUIRE(model.memory().weights > 0 && !model.chat_template().empty());
    REQUIRE(model.sampler_defaults().struct_size == sizeof(LemmySamplerOptions));
    const std::string text("12 + 30 = \xf0\x9f\xa6\x80\0!", 16);
    const auto ids = model.tokenize(text);
    REQUIRE(model.detokenize(ids) == text && model.detokenize({}).empty() && model.tokenize("").empty());
    REQUIRE(model.tokenize(std::string_view()).empty());
    std::string bytes, pieces;
    lemmy::Decoder decoder(model);
    for (const auto id : ids) {
        bytes += model.token_bytes(id);
        pieces += decoder.push(id);
    }
    pieces += decoder.finish();
    REQUIRE(bytes == text && pieces == text);
    const auto turn = model.token_find("<turn|>");
    REQUIRE(turn && model.token_flags(*turn) & LEMMY_TOKEN_END && !model.token_find("no such token"));
    REQUIRE(fails(LEMMY_E_ARGUMENT, [&] { model.detokenize({999999}); }));
}

void replies(const lemmy::Model &model) {
    lemmy::Session session(model, lemmy::SessionOptions().context(1024));
    std::string text;
    bool finished = false;
    for (const lemmy::Event &event : session.send(QUESTION, greedy())) {
        if (event.kind == lemmy::EventKind::text) text += event.text;
        finished = event.kind == lemmy::EventKind::finished;
    }
    REQUIRE(text == "42" && finished);
    REQUIRE(session.send(QUESTION, greedy()).text() == "42");

    /* A reply that a loop leaves is over; the next one is as if it had not been. */
    for (const lemmy::Event &event : session.send(QUESTION, greedy()))
        if (event.kind == lemmy::EventKind::prefill) break;
    REQUIRE(session.info().is_generating == 0);

    lemmy::Reply reply = session.send(QUESTION, greedy());
    int events = 0;
    const LemmyFinish finish = reply.run([&](const lemmy::Event &) { return ++events > 0; });
    REQUIRE(events > 2 && finish.reason == LEMMY_FINISH_STOP && reply.finish().generated == finish.generated);
    REQUIRE(reply.next().kind == lemmy::EventKind::finished);
    REQUIRE(session.send(QUESTION, greedy()).run([](const lemmy::Event &) { return false; }).reason ==
            LEMMY_FINISH_CANCELLED);

    lemmy::Reply first = session.send(QUESTION, greedy());
    REQUIRE(session.send(QUESTION, greedy()).text() == "42");
    REQUIRE(fails(LEMMY_E_STATE, [&] { first.next(); }));

    /* A reply may outlive its session, which may be replaced or gone. */
    {
        std::optional<lemmy::Session> other(std::in_place, model, lemmy::SessionOptions().context(256));
        lemmy::Reply replaced = other->send(QUESTION, greedy());
        *other = lemmy::Session(model, lemmy::SessionOptions().context(256));
        REQUIRE(fails(LEMMY_E_STATE, [&] { replaced.next(); }));
        lemmy::Session &same = *other;
        *other = std::move(same);
        lemmy::Reply left = other->send(QUESTION, greedy());
        REQUIRE(left.next().kind == lemmy::EventKind::prefill);
        other.reset();
        REQUIRE(fails(LEMMY_E_STATE, [&] { left.next(); }));
    }

    /* Algorithms walk it too. */
    lemmy::Reply walked = session.send(QUESTION, greedy());
    REQUIRE(std::find_if(walked.begin(), walked.end(), [](const lemmy::Event &event) {
                return event.kind == lemmy::EventKind::text;
            })->text.front() == '4');

    const auto full = [&] { lemmy::Session(model, lemmy::SessionOptions().context(8)).send(QUESTION).text(); };
    REQUIRE(throws<lemmy::Error>(full, [](const lemmy::Error &error) {
        return std::string(error.name()) == "ContextFull" && error.value(LEMMY_VALUE_CAPACITY) == 8 &&
               !error.value(LEMMY_VALUE_NEEDED);
    }));
}

/* Exceptions go through the library as themselves, and leave the session in order. */
void exceptions(const lemmy::Model &model) {
    lemmy::Session session(model, lemmy::SessionOptions().context(1024));
    const auto in_event = [](const lemmy::Event &) -> bool { throw Mine{7}; };
    const auto in_logits = [](auto, auto, auto) -> bool { throw Mine{7}; };
    REQUIRE(throws<Mine>([&] { session.send(QUESTION).run(in_event); }, is_mine));
    REQUIRE(throws<Mine>([&] { session.send(QUESTION, greedy().on_token(in_event)).text(); }, is_mine));
    REQUIRE(throws<Mine>([&] { session.send(QUESTION, greedy().on_logits(in_logits)).text(); }, is_mine));
    REQUIRE(throws<Mine>([&] { session.prefill(model.tokenize(QUESTION), in_logits); }, is_mine));
    /* The first one counts; after it nothing is called. */
    int calls = 0;
    const auto again = [&](const lemmy::Event &) -> bool { throw ++calls; };
    REQUIRE(throws<Mine>([&] { session.send(QUESTION, greedy().on_logits(in_logits).on_token(again)).text(); },
                         is_mine));
    REQUIRE(calls == 0);
    const auto write = [&](auto, auto) -> bool { throw Mine{++calls == 1 ? 7 : 0}; };
    REQUIRE(throws<Mine>([&] { session.save(write); }, is_mine));
    REQUIRE(calls == 1);
    session.clear();
    REQUIRE(session.send(QUESTION, greedy()).text() == "42");
}

void hooks(const lemmy::Model &model) {
    lemmy::Session session(model, lemmy::SessionOptions().context(1024));
    const std::uint32_t four = model.tokenize("4").front();
    const auto ban = [&](std::uint64_t, float *logits, std::size_t count) {
        if (four < count) logits[four] = -1e9f;
        return true;
    };
    std::string bytes;
    const auto see = [&](const lemmy::Event &event) {
        bytes += event.text;
        return true;
    };
    auto options = greedy().on_logits(ban).on_token(see).max_tokens(8).stop("zzz");
    REQUIRE(session.send(QUESTION, options).text().find('4') == std::string::npos && !bytes.empty());
}

void conversation(const lemmy::Model &model) {
    lemmy::Session session(model, lemmy::SessionOptions().context(1024));
    const std::string messages = R"([{"role":"user","content":"What is 12 + 30?"}])";
    REQUIRE(model.render_chat(messages).find("12 + 30") != std::string::npos);
    const auto report = session.sync(messages);
    REQUIRE(report.reused == 0 && report.prefilled > 5);
    REQUIRE(session.generate(greedy()).text() == "42");
    session.clear();
    session.add(R"([{"role":"user","content":"What is 5 + 6?"}])");
    REQUIRE(session.generate(greedy()).text() == "11");
    REQUIRE(session.messages().find("assistant") != std::string::npos);
}

void tools(const lemmy::Model &model) {
    const char TOOLS[] = R"([{"type":"function","function":{"name":"get_weather","description":"The current weather",
        "parameters":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}}}])";
    lemmy::Session session(model, lemmy::SessionOptions().context(1024).tools(TOOLS));
    std::string id;
    for (const lemmy::Event &event : session.send("What is the weather in London?", greedy())) {
        if (event.kind != lemmy::EventKind::tool_call) continue;
        REQUIRE(event.tool_call.name == "get_weather" && event.tool_call.arguments == R"({"city":"London"})");
        id = event.tool_call.id;
    }
    session.add(R"([{"role":"tool","tool_call_id":")" + id + R"(","content":{"condition":"rainy","temperature":11}}])");
    REQUIRE(session.generate(greedy()).text().find("rainy") != std::string::npos);
}

/* A picture is made of pixels or a file; a model without a vision tower refuses it. */
void pictures(const lemmy::Model &model) {
    const std::uint8_t red[] = {220, 30, 30};
    const lemmy::Image image = lemmy::Image::from_rgb(red, 1, 1, 3, 70);
    lemmy::Session session(model, lemmy::SessionOptions().context(1024));
    REQUIRE(model.info().has_vision == 0);
    REQUIRE(fails(LEMMY_E_UNSUPPORTED, [&] { session.send("What is it?", greedy(), {image}).text(); }));
    REQUIRE(fails(LEMMY_E_IMAGE, [&] { lemmy::Image::from_bytes(red, sizeof red); }));
    REQUIRE(fails(LEMMY_E_ARGUMENT, [&] { lemmy::Image::from_rgb(red, 1, 1, 3, 71); }));
    REQUIRE(session.send(QUESTION, greedy()).text() == "42");
}

void keeping(const lemmy::Model &model, const std::string &folder) {
    lemmy::Session session(model, lemmy::SessionOptions().context(1024));
    session.send("My name is Anna.", greedy()).text();
    const std::string path = folder + "/session";
    session.save(path);
    std::string saved;
    session.save([&](const std::uint8_t *data, std::size_t size) {
        saved.append(reinterpret_cast<const char *>(data), size);
        return true;
    });
    std::size_t read = 0;
    const lemmy::Session::Read give = [&](std::uint8_t *data, std::size_t capacity, std::size_t &size) {
        size = saved.copy(reinterpret_cast<char *>(data), capacity, read);
        read += size;
        return true;
    };
    lemmy::Session others[] = {session.fork(), lemmy::Session::restore(model, path),
                               lemmy::Session::restore(model, give)};
    for (lemmy::Session &other : others)
        REQUIRE(other.send("What is my name?", greedy()).text().find("Anna") != std::string::npos);
    lemmy::Session moved = std::move(session);
    moved.rewind(3);
    REQUIRE(moved.tokens().size() == 3 && moved.info().position == 3);
    REQUIRE(fails(LEMMY_E_ARGUMENT, [&] { moved.rewind(1000); }));
}

void raw(const lemmy::Model &model) {
    lemmy::Session session(model, lemmy::SessionOptions().context(1024));
    lemmy::SamplerOptions options;
    options.temperature = 0;
    lemmy::Sampler sampler(options);
    const auto logits = session.forward(model.tokenize("Hello"));
    const auto id = sampler.sample(logits);
    for (const float logit : logits) REQUIRE(logit <= logits[id]);
    sampler.accept(id);
    options.seed = 5;
    REQUIRE(lemmy::Sampler(options).seed() == 5);
}

static_assert(std::is_move_constructible_v<lemmy::Session> && !std::is_copy_constructible_v<lemmy::Session>);
static_assert(std::is_copy_constructible_v<lemmy::Model> && std::is_copy_constructible_v<lemmy::Image>);
static_assert(!std::is_move_constructible_v<lemmy::Reply>);
#if __cplusplus >= 202002L
static_assert(std::ranges::input_range<lemmy::Reply>);
#endif

} // namespace

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    loading(argv[1]);
    const lemmy::Model model(argv[1]);
    facts_and_tokens(model);
    replies(model);
    exceptions(model);
    hooks(model);
    conversation(model);
    tools(model);
    pictures(model);
    keeping(model, argv[2]);
    raw(model);
    std::puts("wrapper: all right");
}
