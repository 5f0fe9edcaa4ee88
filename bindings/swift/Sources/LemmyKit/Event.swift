import CLemmy

/// One step of a reply.
public enum Event: Sendable {
    /// So many tokens of the prompt are read.
    case prefill(done: UInt64, total: UInt64)
    case thinking(String)
    case text(String)
    /// A call that the model makes; `arguments` is the text of a JSON object.
    case toolCall(id: String, name: String, arguments: String)
    case warning(String)
    /// The last one.
    case finished(Reason)

    /// Why a reply ended.
    public enum Reason: UInt32, Sendable {
        case stop = 1, length, toolCalls, cancelled, contextFull
        /// Of a newer library.
        case unknown = 0
    }

    /// Nil for a kind of a newer library.
    init?(_ raw: LemmyEvent) {
        switch raw.kind {
        case LEMMY_EVENT_PREFILL: self = .prefill(done: raw.done, total: raw.total)
        case LEMMY_EVENT_THINKING: self = .thinking(text(raw.text, raw.text_len))
        case LEMMY_EVENT_TEXT: self = .text(text(raw.text, raw.text_len))
        case LEMMY_EVENT_TOOL_CALL:
            self = .toolCall(
                id: raw.tool_id.map { String(cString: $0) } ?? "",
                name: raw.tool_name.map { String(cString: $0) } ?? "",
                arguments: text(raw.tool_arguments, raw.tool_arguments_len)
            )
        case LEMMY_EVENT_WARNING: self = .warning(text(raw.text, raw.text_len))
        case LEMMY_EVENT_FINISHED: self = .finished(Reason(rawValue: raw.finish_reason) ?? .unknown)
        default: return nil
        }
    }
}

private func text(_ start: UnsafePointer<CChar>?, _ count: Int) -> String {
    guard let start else { return "" }
    let bytes = UnsafeRawBufferPointer(start: start, count: count)
    return String(decoding: bytes, as: UTF8.self)
}
