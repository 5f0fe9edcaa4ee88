package lemmy

/** A struct of lemmy.h: offsets of its fields by name, on 64-bit machines. */
internal class Layout(vararg fields: Pair<String, Int>) {
    /** In bytes. */
    val offsets = LinkedHashMap<String, Int>()

    /** `sizeof`. */
    val size: Int

    init {
        var end = 0
        for ((name, width) in fields) {
            end = (end + width - 1) / width * width
            offsets[name] = end
            end += width
        }
        size = (end + 7) / 8 * 8
    }

    operator fun get(field: String): Int = offsets.getValue(field)
}

private const val I32 = 4
private const val I64 = 8

internal val MODEL_OPTIONS = Layout(
    "struct_size" to I64, "mmproj_path" to I64, "pool" to I64, "cancel" to I64, "chat_template" to I64,
    "chat_template_len" to I64, "memory_limit" to I64, "on_progress" to I64, "user_data" to I64, "load_mode" to I32,
    "reserved" to I32,
)

internal val SESSION_OPTIONS = Layout(
    "struct_size" to I64, "context" to I64, "kv_type" to I32, "batch" to I32, "rewind_window" to I32, "reserved" to I32,
    "system" to I64, "system_len" to I64, "tools_json" to I64, "tools_len" to I64, "cancel" to I64,
)

internal val GENERATE_OPTIONS = Layout(
    "struct_size" to I64, "max_tokens" to I64, "seed" to I64, "sampler" to I64, "stop" to I64, "stop_count" to I64,
    "thinking" to I32, "thinking_budget" to I32, "constraint_kind" to I32, "tool_choice" to I32, "constraint" to I64,
    "constraint_len" to I64, "tool_name" to I64, "logprobs" to I32, "speculate" to I32, "single_tool_call" to I32,
    "penalize_reply_only" to I32, "cancel" to I64, "on_logits" to I64, "on_token" to I64, "user_data" to I64,
)

/** Up to what is used here; the rest is in [SAMPLER_SIZE]. */
internal val SAMPLER_OPTIONS = Layout("struct_size" to I64, "temperature" to I32)
internal const val SAMPLER_SIZE = 128

internal val EVENT = Layout(
    "struct_size" to I64, "kind" to I32, "token" to I32, "text" to I64, "text_len" to I64, "logprob" to I64,
    "done" to I64, "total" to I64, "tool_id" to I64, "tool_name" to I64, "tool_arguments" to I64,
    "tool_arguments_len" to I64, "top" to I64, "top_count" to I64, "zone" to I32, "finish_reason" to I32,
)
