/*
 * lemmy.hpp - lemmy.h for C++17: handles that free themselves, replies as ranges, failures as exceptions.
 *
 *     lemmy::Model model("gemma-4-26B-A4B-it-Q4_K_M.gguf");
 *     lemmy::Session session(model, lemmy::SessionOptions().system("Be brief."));
 *     for (const lemmy::Event &event : session.send("Why is the sky blue?"))
 *         if (event.kind == lemmy::EventKind::text) std::cout << event.text << std::flush;
 *     std::string answer = session.send("And at dusk?").text();
 *
 * It adds no rules: what lemmy.h says of each function holds for the method of that name, and its constants (LEMMY_*)
 * are used as they are. Beyond it:
 *
 * FAILURES   A function that fails throws lemmy::Error, which has the status, the message and the numbers. An exception
 *            that leaves a callback stops the work and comes out of the call that ran the callback, as itself. A
 *            callback returns true to go on and false to stop.
 *
 * OBJECTS    Model, Pool, Cancel and Image are references: copies share one object. Session, Sampler and Decoder have
 *            one owner and can be moved. A moved-from object may only be destroyed or assigned to.
 *
 * TEXT       Goes in and comes out as std::string_view. What comes out is lent: the comment says how long.
 *
 * Header only; needs lemmy.h beside it and exceptions. Compatible with any library that lemmy.h is.
 */
#ifndef LEMMY_HPP
#define LEMMY_HPP

#include "lemmy/options.hpp"

#include <iterator>

namespace lemmy {

/* ---- model ----------------------------------------------------------------------------------------------------- */

/* A loaded model. */
class Model {
public:
    explicit Model(const std::string &path, const ModelOptions &options = {}) {
        check_abi();
        detail::Carrier carrier;
        LemmyModelOptions raw = options.raw();
        Progress progress{options.on_progress_, carrier};
        progress.into(raw);
        LemmyModel *model = nullptr;
        carrier.run([&](LemmyError **e) { return lemmy_model_load(path.c_str(), &raw, &model, e); });
        object_ = Object(model);
    }

    /* Memory that the file will take with a session of `context` tokens; reads its headers only. */
    static LemmyMemory estimate(const std::string &path, std::uint64_t context, const ModelOptions &options = {},
                                std::uint32_t kv_type = LEMMY_KV_F16) {
        auto out = detail::to_fill<LemmyMemory>();
        const LemmyModelOptions raw = options.raw();
        detail::run([&](LemmyError **e) {
            return lemmy_model_estimate_with(path.c_str(), &raw, context, kv_type, &out, e);
        });
        return out;
    }

    /* Memory that the model and a session with these options take together. */
    LemmyMemory memory(const SessionOptions &options = {}) const {
        auto out = detail::to_fill<LemmyMemory>();
        const LemmySessionOptions raw = options.raw();
        detail::run([&](LemmyError **e) { return lemmy_model_memory(get(), &raw, &out, e); });
        return out;
    }

    /* Facts; the texts live as long as this object. */
    LemmyModelInfo info() const {
        auto out = detail::to_fill<LemmyModelInfo>();
        detail::run([&](LemmyError **e) { return lemmy_model_info(get(), &out, e); });
        return out;
    }

    /* The model's recommendation; its arrays live as long as this object. */
    SamplerOptions sampler_defaults() const {
        auto out = detail::to_fill<LemmySamplerOptions>();
        detail::run([&](LemmyError **e) { return lemmy_model_sampler_defaults(get(), &out, e); });
        return SamplerOptions(out);
    }

    /* The chat template (Jinja); lives as long as this object. */
    std::string_view chat_template() const {
        const char *text = nullptr;
        std::size_t size = 0;
        detail::run([&](LemmyError **e) { return lemmy_model_chat_template(get(), &text, &size, e); });
        return std::string_view(text, size);
    }

    /* The prompt that a list of messages (JSON) becomes, to look at. */
    std::string render_chat(std::string_view messages, const ChatOptions &options = {}) const {
        const LemmyChatOptions raw = options.raw();
        LemmyBuffer *text = nullptr;
        detail::run([&](LemmyError **e) {
            return lemmy_model_render_chat(get(), detail::data(messages), messages.size(), &raw, &text, e);
        });
        return detail::take_text(text);
    }

    /* Tokens of a text; `flags`: LEMMY_TOKENIZE_*. */
    std::vector<std::uint32_t> tokenize(std::string_view text, std::uint32_t flags = 0) const {
        return detail::array<std::uint32_t>([&](std::uint32_t *ids, std::size_t n, std::size_t *out, LemmyError **e) {
            return lemmy_model_tokenize(get(), detail::data(text), text.size(), flags, ids, n, out, e);
        });
    }

    /* Text of tokens; `flags`: LEMMY_DETOKENIZE_*. */
    std::string detokenize(const std::vector<std::uint32_t> &ids, std::uint32_t flags = 0) const {
        std::string text;
        std::size_t size = 0;
        const auto call = [&](char *out, std::size_t capacity, LemmyError **e) {
            return lemmy_model_detokenize(get(), ids.data(), ids.size(), flags, out, capacity, &size, e);
        };
        LemmyError *error = nullptr;
        const LemmyStatus status = call(nullptr, 0, &error); // always too small: there is a NUL to write
        if (status != LEMMY_E_BUFFER) Error::check(status, error);
        lemmy_error_free(error);
        text.resize(size + 1);
        detail::run([&](LemmyError **e) { return call(text.data(), text.size(), e); });
        text.resize(size);
        return text;
    }

    /* Bytes of one token; live as long as the model. */
    std::string_view token_bytes(std::uint32_t id) const {
        const std::uint8_t *bytes = nullptr;
        std::size_t size = 0;
        detail::run([&](LemmyError **e) { return lemmy_model_token_bytes(get(), id, &bytes, &size, e); });
        return std::string_view(reinterpret_cast<const char *>(bytes), size);
    }

    /* The token with exactly this spelling, if there is one. */
    std::optional<std::uint32_t> token_find(std::string_view text) const {
        std::uint32_t id = LEMMY_NO_TOKEN;
        detail::run([&](LemmyError **e) {
            return lemmy_model_token_find(get(), detail::data(text), text.size(), &id, e);
        });
        return id == LEMMY_NO_TOKEN ? std::nullopt : std::optional(id);
    }

    /* The sum of LEMMY_TOKEN_*. */
    std::uint32_t token_flags(std::uint32_t id) const {
        std::uint32_t flags = 0;
        detail::run([&](LemmyError **e) { return lemmy_model_token_flags(get(), id, &flags, e); });
        return flags;
    }

    LemmyModel *get() const noexcept { return object_.get(); }

private:
    friend class Session;
    /* A progress callback and where its exception goes. */
    struct Progress {
        const ModelOptions::Progress &callback;
        detail::Carrier &carrier;

        template <class Options> void into(Options &raw) {
            if (!callback) return;
            raw.user_data = this;
            raw.on_progress = call;
        }
        static std::int32_t call(void *self, std::uint32_t stage, std::uint64_t done, std::uint64_t total) {
            auto &progress = *static_cast<Progress *>(self);
            return progress.carrier.guard([&] { return progress.callback(stage, done, total); });
        }
    };
    using Object = detail::Shared<LemmyModel, lemmy_model_retain, lemmy_model_release>;
    Object object_;
};

/* ---- tokens one by one ----------------------------------------------------------------------------------------- */

/* Turns tokens that come one by one into text that never ends inside a character. */
class Decoder {
public:
    explicit Decoder(const Model &model) {
        LemmyDecoder *decoder = nullptr;
        detail::run([&](LemmyError **e) { return lemmy_decoder_new(model.get(), &decoder, e); });
        object_.reset(decoder);
    }

    /* Text that is complete after this token; valid until the next call on this decoder. */
    std::string_view push(std::uint32_t id) {
        return text([&](const char **out, std::size_t *size, LemmyError **e) {
            return lemmy_decoder_push(object_.get(), id, out, size, e);
        });
    }

    /* What was kept back; valid until the next call on this decoder. */
    std::string_view finish() {
        return text([&](const char **out, std::size_t *size, LemmyError **e) {
            return lemmy_decoder_finish(object_.get(), out, size, e);
        });
    }

private:
    template <class Call> static std::string_view text(Call &&call) {
        const char *out = nullptr;
        std::size_t size = 0;
        detail::run([&](LemmyError **e) { return call(&out, &size, e); });
        return out ? std::string_view(out, size) : std::string_view();
    }
    detail::Owned<LemmyDecoder, lemmy_decoder_free> object_;
};

/* One row of logits, in the order of ids. Lent by the session until its next call; may be changed. */
struct Logits {
    float *values = nullptr;
    std::size_t count = 0;

    float *begin() const noexcept { return values; }
    float *end() const noexcept { return values + count; }
    float &operator[](std::size_t id) const noexcept { return values[id]; }
};

/* Picks tokens. */
class Sampler {
public:
    explicit Sampler(const SamplerOptions &options = {}) {
        LemmySampler *sampler = nullptr;
        detail::run([&](LemmyError **e) { return lemmy_sampler_new(&options, &sampler, e); });
        object_.reset(sampler);
    }
    std::uint32_t sample(Logits logits) {
        std::uint32_t id = 0;
        detail::run([&](LemmyError **e) {
            return lemmy_sampler_sample(object_.get(), logits.values, logits.count, &id, e);
        });
        return id;
    }
    /* Tells the penalties what was said. */
    void accept(std::uint32_t id) {
        detail::run([&](LemmyError **e) { return lemmy_sampler_accept(object_.get(), id, e); });
    }
    std::uint64_t seed() const {
        std::uint64_t seed = 0;
        detail::run([&](LemmyError **e) { return lemmy_sampler_seed(object_.get(), &seed, e); });
        return seed;
    }

private:
    detail::Owned<LemmySampler, lemmy_sampler_free> object_;
};

/* ---- replies --------------------------------------------------------------------------------------------------- */

namespace detail {

/* The callbacks of a reply; stay in one place while C may call them. */
struct Hooks {
    bool is_over = false; // the session has begun another reply, or is gone
    GenerateOptions::OnLogits on_logits;
    GenerateOptions::OnToken on_token;
    Carrier carrier;

    static std::int32_t logits(void *self, std::uint64_t position, float *logits, std::size_t count) {
        auto &hooks = *static_cast<Hooks *>(self);
        return hooks.carrier.guard([&] { return hooks.on_logits(position, logits, count); });
    }
    static std::int32_t token(void *self, const LemmyEvent *event) {
        auto &hooks = *static_cast<Hooks *>(self);
        return hooks.carrier.guard([&] { return hooks.on_token(Event(*event)); });
    }
};

/* The hooks of a session's newest reply, which is over when the session begins another or goes. */
class Newest {
public:
    Newest() = default;
    Newest(Newest &&) noexcept = default;
    Newest &operator=(Newest &&other) noexcept {
        if (this != &other) begin(std::move(other.hooks_));
        return *this;
    }
    ~Newest() { begin(nullptr); }
    void begin(std::shared_ptr<Hooks> hooks) noexcept {
        if (hooks_) hooks_->is_over = true;
        hooks_ = std::move(hooks);
    }

private:
    std::shared_ptr<Hooks> hooks_;
};

} // namespace detail

/*
 * A reply in the making: a range over its events, the last of which is EventKind::finished. It can be walked once. Its
 * destruction (leaving a loop early, an exception) stops the reply; what was said stays in the conversation. It is over
 * when its session begins another, or goes.
 */
class Reply {
public:
    Reply(const Reply &) = delete;
    Reply &operator=(const Reply &) = delete;
    ~Reply() {
        if (!hooks_->is_over) lemmy_session_stop(session_, nullptr);
    }

    /* The next event; after the finished one it is that again. Its texts are valid until the next call. */
    const Event &next() {
        auto out = detail::to_fill<LemmyEvent>();
        current().carrier.run([&](LemmyError **e) { return lemmy_session_next(session_, &out, e); });
        event_ = Event(out);
        return event_;
    }

    /* The whole answer, without thoughts. */
    std::string text() {
        std::string text;
        for (const Event &event : *this)
            if (event.kind == EventKind::text) text += event.text;
        return text;
    }

    /* Runs to the end and shows each event to `on_event`; returning false stops the reply. */
    LemmyFinish run(const std::function<bool(const Event &)> &on_event) {
        struct Context {
            const std::function<bool(const Event &)> &on_event;
            detail::Carrier &carrier;
        } context{on_event, current().carrier};
        const LemmyEventFn show = [](void *user_data, const LemmyEvent *event) -> std::int32_t {
            auto &self = *static_cast<Context *>(user_data);
            return self.carrier.guard([&] { return self.on_event(Event(*event)); });
        };
        auto out = detail::to_fill<LemmyFinish>();
        hooks_->carrier.run([&](LemmyError **e) {
            return lemmy_session_run(session_, on_event ? show : nullptr, &context, &out, e);
        });
        return out;
    }

    /* How it ended. */
    LemmyFinish finish() const {
        current();
        auto out = detail::to_fill<LemmyFinish>();
        detail::run([&](LemmyError **e) { return lemmy_session_finish(session_, &out, e); });
        return out;
    }

    /* Stops it. */
    void stop() {
        current();
        detail::run([&](LemmyError **e) { return lemmy_session_stop(session_, e); });
    }

    class Iterator {
    public:
        using iterator_category = std::input_iterator_tag;
        using value_type = Event;
        using difference_type = std::ptrdiff_t;
        using pointer = const Event *;
        using reference = const Event &;

        explicit Iterator(Reply *reply = nullptr) : reply_(reply) {}
        const Event &operator*() const noexcept { return reply_->event_; }
        const Event *operator->() const noexcept { return &reply_->event_; }
        Iterator &operator++() {
            if (reply_->event_.kind == EventKind::finished) {
                reply_ = nullptr;
            } else {
                reply_->next();
            }
            return *this;
        }
        void operator++(int) { ++*this; }
        bool operator==(const Iterator &other) const noexcept { return reply_ == other.reply_; }
        bool operator!=(const Iterator &other) const noexcept { return reply_ != other.reply_; }

    private:
        Reply *reply_;
    };

    Iterator begin() {
        next();
        return Iterator(this);
    }
    Iterator end() noexcept { return Iterator(); }

private:
    friend class Session;
    Reply(LemmySession *session, std::shared_ptr<detail::Hooks> hooks) : session_(session), hooks_(std::move(hooks)) {}

    detail::Hooks &current() const {
        if (hooks_->is_over) throw Error(LEMMY_E_STATE, "the session has begun another reply, or is gone");
        return *hooks_;
    }

    LemmySession *session_;
    std::shared_ptr<detail::Hooks> hooks_;
    Event event_;
};

/* ---- sessions -------------------------------------------------------------------------------------------------- */

/* One conversation. */
class Session {
public:
    using Write = std::function<bool(const std::uint8_t *, std::size_t)>;
    /* Gives up to so many bytes; their number goes into the last argument, 0 at the end. */
    using Read = std::function<bool(std::uint8_t *, std::size_t, std::size_t &)>;

    explicit Session(const Model &model, const SessionOptions &options = {}) {
        const LemmySessionOptions raw = options.raw();
        LemmySession *session = nullptr;
        detail::run([&](LemmyError **e) { return lemmy_session_new(model.get(), &raw, &session, e); });
        object_.reset(session);
    }

    /* A saved session from a file. */
    static Session restore(const Model &model, const std::string &path, std::optional<Cancel> cancel = {}) {
        LemmyCancel *token = cancel ? cancel->get() : nullptr;
        LemmySession *session = nullptr;
        detail::run([&](LemmyError **e) {
            return lemmy_model_restore_file(model.get(), path.c_str(), token, &session, e);
        });
        return Session(session);
    }

    /* A saved session through a function. */
    static Session restore(const Model &model, const Read &read, std::optional<Cancel> cancel = {}) {
        struct Context {
            const Read &read;
            detail::Carrier carrier;
        } context{read, {}};
        const LemmyReadFn call = [](void *user_data, std::uint8_t *data, std::size_t capacity, std::size_t *size) {
            auto &self = *static_cast<Context *>(user_data);
            return self.carrier.guard([&] { return self.read(data, capacity, *size); });
        };
        LemmyCancel *token = cancel ? cancel->get() : nullptr;
        LemmySession *session = nullptr;
        context.carrier.run([&](LemmyError **e) {
            return lemmy_model_restore(model.get(), call, &context, token, &session, e);
        });
        return Session(session);
    }

    /* Says something, with pictures before it, and begins the reply. */
    [[nodiscard]] Reply send(std::string_view text, const GenerateOptions &options = {},
                             const std::vector<Image> &images = {}) {
        const std::vector<LemmyImage *> pointers = all(images);
        return begin(options, [&](const LemmyGenerateOptions &raw, LemmyError **e) {
            return lemmy_session_send(get(), detail::data(text), text.size(), pointers.data(), pointers.size(), &raw,
                                      e);
        });
    }

    /* Begins the reply to what was added, synchronised or prefilled. */
    [[nodiscard]] Reply generate(const GenerateOptions &options = {}) {
        return begin(options, [&](const LemmyGenerateOptions &raw, LemmyError **e) {
            return lemmy_session_generate(get(), &raw, e);
        });
    }

    /* Adds messages (a JSON array) without a reply. */
    void add(std::string_view messages, const std::vector<Image> &images = {}) {
        const std::vector<LemmyImage *> pointers = all(images);
        detail::run([&](LemmyError **e) {
            return lemmy_session_add(get(), detail::data(messages), messages.size(), pointers.data(), pointers.size(),
                                     e);
        });
    }

    /* Makes these messages the whole conversation, and reads what of them is not read yet. */
    LemmySyncReport sync(std::string_view messages, const ChatOptions &options = {},
                         const std::vector<Image> &images = {}) {
        const std::vector<LemmyImage *> pointers = all(images);
        detail::Carrier carrier;
        Model::Progress progress{options.on_progress_, carrier};
        LemmyChatOptions raw = options.raw();
        progress.into(raw);
        auto out = detail::to_fill<LemmySyncReport>();
        carrier.run([&](LemmyError **e) {
            return lemmy_session_sync(get(), detail::data(messages), messages.size(), pointers.data(), pointers.size(),
                                      &raw, &out, e);
        });
        return out;
    }

    /* The conversation as a JSON array. */
    std::string messages() const {
        LemmyBuffer *json = nullptr;
        detail::run([&](LemmyError **e) { return lemmy_session_messages(get(), &json, e); });
        return detail::take_text(json);
    }

    LemmySessionInfo info() const {
        auto out = detail::to_fill<LemmySessionInfo>();
        detail::run([&](LemmyError **e) { return lemmy_session_info(get(), &out, e); });
        return out;
    }

    std::vector<std::uint32_t> tokens() const {
        return detail::array<std::uint32_t>([&](std::uint32_t *ids, std::size_t n, std::size_t *out, LemmyError **e) {
            return lemmy_session_tokens(get(), ids, n, out, e);
        });
    }

    void rewind(std::uint64_t position) {
        detail::run([&](LemmyError **e) { return lemmy_session_rewind(get(), position, e); });
    }

    void clear() {
        detail::run([&](LemmyError **e) { return lemmy_session_clear(get(), e); });
    }

    /* A second session with the same past. */
    Session fork() const {
        LemmySession *other = nullptr;
        detail::run([&](LemmyError **e) { return lemmy_session_fork(get(), &other, e); });
        return Session(other);
    }

    /* Reads tokens, without logits. */
    void prefill(const std::vector<std::uint32_t> &ids, const ModelOptions::Progress &on_progress = {}) {
        detail::Carrier carrier;
        Model::Progress progress{on_progress, carrier};
        carrier.run([&](LemmyError **e) {
            return lemmy_session_prefill(get(), ids.data(), ids.size(), on_progress ? Model::Progress::call : nullptr,
                                         &progress, e);
        });
    }

    /* Reads tokens, at least one; logits of the last one. */
    Logits forward(const std::vector<std::uint32_t> &ids) {
        Logits logits;
        detail::run([&](LemmyError **e) {
            return lemmy_session_forward(get(), ids.data(), ids.size(), &logits.values, &logits.count, e);
        });
        return logits;
    }

    void save(const std::string &path) const {
        detail::run([&](LemmyError **e) { return lemmy_session_save_file(get(), path.c_str(), e); });
    }

    /* Saves through a function. */
    void save(const Write &write) const {
        struct Context {
            const Write &write;
            detail::Carrier carrier;
        } context{write, {}};
        const LemmyWriteFn call = [](void *user_data, const std::uint8_t *data, std::size_t size) {
            auto &self = *static_cast<Context *>(user_data);
            return self.carrier.guard([&] { return self.write(data, size); });
        };
        context.carrier.run([&](LemmyError **e) { return lemmy_session_save(get(), call, &context, e); });
    }

    LemmySession *get() const noexcept { return object_.get(); }

private:
    explicit Session(LemmySession *session) : object_(session) {}

    template <class Begin> Reply begin(const GenerateOptions &options, Begin &&begin) {
        auto hooks = std::make_shared<detail::Hooks>();
        LemmyGenerateOptions raw = options.raw_;
        std::vector<const char *> stop;
        for (const std::string &text : options.stop_) stop.push_back(text.c_str());
        raw.stop = stop.data();
        raw.stop_count = stop.size();
        raw.sampler = options.sampler_ ? &*options.sampler_ : nullptr;
        raw.constraint = detail::data(options.constraint_);
        raw.constraint_len = detail::size(options.constraint_);
        raw.tool_name = raw.tool_choice == LEMMY_TOOLS_NAMED ? options.tool_name_.c_str() : nullptr;
        raw.cancel = options.cancel_ ? options.cancel_->get() : nullptr;
        hooks->on_logits = options.on_logits_;
        hooks->on_token = options.on_token_;
        if (hooks->on_logits) raw.on_logits = detail::Hooks::logits;
        if (hooks->on_token) raw.on_token = detail::Hooks::token;
        raw.user_data = hooks.get();
        detail::run([&](LemmyError **e) { return begin(raw, e); });
        newest_.begin(hooks);
        return Reply(get(), std::move(hooks));
    }

    static std::vector<LemmyImage *> all(const std::vector<Image> &images) {
        std::vector<LemmyImage *> pointers;
        for (const Image &image : images) pointers.push_back(image.get());
        return pointers;
    }

    detail::Newest newest_; // destroyed after the session: C may look at it until then
    detail::Owned<LemmySession, lemmy_session_free> object_;
};

} // namespace lemmy

#endif // LEMMY_HPP
