/* Part of lemmy.hpp: options, and the events of a reply. */
#ifndef LEMMY_OPTIONS_HPP
#define LEMMY_OPTIONS_HPP

#include "base.hpp"

#include <functional>
#include <string_view>

namespace lemmy {

/* ---- events ---------------------------------------------------------------------------------------------------- */

/* LEMMY_EVENT_*. A newer library may have more kinds: skip those. */
enum class EventKind : std::uint32_t {
    prefill = LEMMY_EVENT_PREFILL,
    thinking = LEMMY_EVENT_THINKING,
    text = LEMMY_EVENT_TEXT,
    tool_call = LEMMY_EVENT_TOOL_CALL,
    token = LEMMY_EVENT_TOKEN,
    warning = LEMMY_EVENT_WARNING,
    finished = LEMMY_EVENT_FINISHED,
};

/* A call that the model makes; `arguments` is the text of a JSON object. */
struct ToolCall {
    std::string_view id, name, arguments;
};

/* One step of a reply; the texts are valid until the next step. `raw` has the rest. */
struct Event {
    EventKind kind{};
    std::string_view text;
    ToolCall tool_call;
    LemmyEvent raw{};

    explicit Event(const LemmyEvent &event = {})
        : kind(static_cast<EventKind>(event.kind)), text(view(event.text, event.text_len)),
          tool_call{view(event.tool_id), view(event.tool_name), view(event.tool_arguments, event.tool_arguments_len)},
          raw(event) {}

private:
    static std::string_view view(const char *text) { return text ? std::string_view(text) : std::string_view(); }
    static std::string_view view(const char *text, std::size_t size) {
        return text ? std::string_view(text, size) : std::string_view();
    }
};

/* ---- options --------------------------------------------------------------------------------------------------- */

/* How a model is loaded. What is not set has the default of LemmyModelOptions. */
class ModelOptions {
public:
    /* Sees how far loading is: stage LEMMY_STAGE_*, done, total. */
    using Progress = std::function<bool(std::uint32_t, std::uint64_t, std::uint64_t)>;

    ModelOptions &mmproj(std::string path) { return mmproj_ = std::move(path), *this; }
    ModelOptions &pool(Pool pool) { return pool_ = std::move(pool), *this; }
    ModelOptions &cancel(Cancel cancel) { return cancel_ = std::move(cancel), *this; }
    ModelOptions &chat_template(std::string jinja) { return template_ = std::move(jinja), *this; }
    ModelOptions &memory_limit(std::uint64_t bytes) { return raw_.memory_limit = bytes, *this; }
    ModelOptions &load_mode(std::uint32_t mode) { return raw_.load_mode = mode, *this; }
    ModelOptions &on_progress(Progress callback) { return on_progress_ = std::move(callback), *this; }

private:
    friend class Model;
    LemmyModelOptions raw() const {
        LemmyModelOptions raw = raw_;
        raw.mmproj_path = mmproj_ ? mmproj_->c_str() : nullptr;
        raw.pool = pool_ ? pool_->get() : nullptr;
        raw.cancel = cancel_ ? cancel_->get() : nullptr;
        raw.chat_template = detail::data(template_);
        raw.chat_template_len = detail::size(template_);
        return raw;
    }

    LemmyModelOptions raw_ = detail::defaults(lemmy_model_options_init);
    std::optional<std::string> mmproj_, template_;
    std::optional<Pool> pool_;
    std::optional<Cancel> cancel_;
    Progress on_progress_;
};

/* A session's options. What is not set has the default of LemmySessionOptions. */
class SessionOptions {
public:
    SessionOptions &context(std::uint64_t tokens) { return raw_.context = tokens, *this; }
    SessionOptions &kv_type(std::uint32_t type) { return raw_.kv_type = type, *this; }
    SessionOptions &batch(std::uint32_t tokens) { return raw_.batch = tokens, *this; }
    SessionOptions &rewind_window(std::uint32_t tokens) { return raw_.rewind_window = tokens, *this; }
    SessionOptions &system(std::string text) { return system_ = std::move(text), *this; }
    SessionOptions &tools(std::string json) { return tools_ = std::move(json), *this; }
    SessionOptions &cancel(Cancel cancel) { return cancel_ = std::move(cancel), *this; }

private:
    friend class Model;
    friend class Session;
    LemmySessionOptions raw() const {
        LemmySessionOptions raw = raw_;
        raw.system = detail::data(system_);
        raw.system_len = detail::size(system_);
        raw.tools_json = detail::data(tools_);
        raw.tools_len = detail::size(tools_);
        raw.cancel = cancel_ ? cancel_->get() : nullptr;
        return raw;
    }

    LemmySessionOptions raw_ = detail::defaults(lemmy_session_options_init);
    std::optional<std::string> system_, tools_;
    std::optional<Cancel> cancel_;
};

/* How tokens are picked: the C struct with its defaults written. Set its fields. */
struct SamplerOptions : LemmySamplerOptions {
    SamplerOptions() : LemmySamplerOptions(detail::defaults(lemmy_sampler_options_init)) {}
    explicit SamplerOptions(const LemmySamplerOptions &options) : LemmySamplerOptions(options) {}
};

/* How a conversation becomes a prompt. */
class ChatOptions {
public:
    using Progress = ModelOptions::Progress;

    ChatOptions &tools(std::string json) { return tools_ = std::move(json), *this; }
    ChatOptions &thinking(bool on = true) { return raw_.thinking = on, *this; }
    ChatOptions &preserve_thinking(bool on = true) { return raw_.preserve_thinking = on, *this; }
    ChatOptions &add_generation_prompt(bool on) { return raw_.add_generation_prompt = on, *this; }
    ChatOptions &on_progress(Progress callback) { return on_progress_ = std::move(callback), *this; }

private:
    friend class Model;
    friend class Session;
    LemmyChatOptions raw() const {
        LemmyChatOptions raw = raw_;
        raw.tools_json = detail::data(tools_);
        raw.tools_len = detail::size(tools_);
        return raw;
    }

    LemmyChatOptions raw_ = detail::defaults(lemmy_chat_options_init);
    std::optional<std::string> tools_;
    Progress on_progress_;
};

/* What is asked of a reply. What is not set has the default of LemmyGenerateOptions. */
class GenerateOptions {
public:
    /* Sees the logits before a token is sampled, and may change them: position, logits, their number. */
    using OnLogits = std::function<bool(std::uint64_t, float *, std::size_t)>;
    /* Sees a token event. */
    using OnToken = std::function<bool(const Event &)>;

    GenerateOptions &max_tokens(std::uint64_t n) { return raw_.max_tokens = n, *this; }
    GenerateOptions &seed(std::uint64_t seed) { return raw_.seed = seed, *this; }
    GenerateOptions &sampler(SamplerOptions sampler) { return sampler_ = sampler, *this; }
    GenerateOptions &stop(std::string text) { return stop_.push_back(std::move(text)), *this; }
    GenerateOptions &thinking(bool on = true) { return raw_.thinking = on, *this; }
    GenerateOptions &thinking_budget(std::uint32_t tokens) { return raw_.thinking_budget = tokens, thinking(); }
    /* LEMMY_CONSTRAINT_* and its text. */
    GenerateOptions &constraint(std::uint32_t kind, std::string text) {
        raw_.constraint_kind = kind;
        return constraint_ = std::move(text), *this;
    }
    /* LEMMY_TOOLS_*, with the tool's name for LEMMY_TOOLS_NAMED. */
    GenerateOptions &tool_choice(std::uint32_t choice, std::string name = {}) {
        raw_.tool_choice = choice;
        return tool_name_ = std::move(name), *this;
    }
    GenerateOptions &single_tool_call(bool on = true) { return raw_.single_tool_call = on, *this; }
    GenerateOptions &penalize_reply_only(bool on = true) { return raw_.penalize_reply_only = on, *this; }
    GenerateOptions &logprobs(std::uint32_t top) { return raw_.logprobs = top, *this; }
    GenerateOptions &speculate(std::uint32_t tokens) { return raw_.speculate = tokens, *this; }
    GenerateOptions &cancel(Cancel cancel) { return cancel_ = std::move(cancel), *this; }
    GenerateOptions &on_logits(OnLogits callback) { return on_logits_ = std::move(callback), *this; }
    GenerateOptions &on_token(OnToken callback) { return on_token_ = std::move(callback), *this; }

private:
    friend class Session;
    LemmyGenerateOptions raw_ = detail::defaults(lemmy_generate_options_init);
    std::optional<SamplerOptions> sampler_;
    std::vector<std::string> stop_;
    std::optional<std::string> constraint_;
    std::string tool_name_;
    std::optional<Cancel> cancel_;
    OnLogits on_logits_;
    OnToken on_token_;
};

} // namespace lemmy

#endif // LEMMY_OPTIONS_HPP
