import CLemmy
import Dispatch

/// What is asked of a reply; nil: as the model recommends.
public struct Wishes: Sendable {
    public var temperature: Float?
    public var maxTokens: UInt64?
    public var seed: UInt64?
    public var thinking = false

    public init(temperature: Float? = nil, maxTokens: UInt64? = nil, seed: UInt64? = nil, thinking: Bool = false) {
        self.temperature = temperature
        self.maxTokens = maxTokens
        self.seed = seed
        self.thinking = thinking
    }
}

/// One conversation. Its work runs on a queue of its own, so that no thread of Swift's concurrency waits for it.
public final class Session: @unchecked Sendable {
    private let handle: OpaquePointer
    private let queue = DispatchQueue(label: "lemmy.session")

    init(handle: OpaquePointer) {
        self.handle = handle
    }

    deinit { lemmy_session_free(handle) }

    /// Says something. The reply comes while the stream is read; ending the task that reads it stops the reply, and
    /// what was said stays in the conversation.
    public func send(_ text: String, _ wishes: Wishes = Wishes()) -> AsyncThrowingStream<Event, Error> {
        reply(wishes) { session, options, error in
            lemmy_session_send(session, text, text.utf8.count, nil, 0, options, error)
        }
    }

    /// A reply to messages that were added.
    public func generate(_ wishes: Wishes = Wishes()) -> AsyncThrowingStream<Event, Error> {
        reply(wishes) { session, options, error in lemmy_session_generate(session, options, error) }
    }

    /// Adds messages, a JSON array, such as what a tool answered.
    public func add(messages: String) async throws {
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, Error>) in
            queue.async {
                continuation.resume(with: Result {
                    try check { lemmy_session_add(self.handle, messages, messages.utf8.count, nil, 0, $0) }
                })
            }
        }
    }

    private typealias Begin = @Sendable (
        OpaquePointer, UnsafePointer<LemmyGenerateOptions>, UnsafeMutablePointer<OpaquePointer?>
    ) -> LemmyStatus

    private func reply(_ wishes: Wishes, _ begin: @escaping Begin) -> AsyncThrowingStream<Event, Error> {
        AsyncThrowingStream { continuation in
            let cancel = Cancel()
            continuation.onTermination = { _ in cancel.trigger() }
            queue.async {
                do {
                    try self.begin(wishes, cancel, begin)
                    while let event = try self.next() {
                        continuation.yield(event)
                        if case .finished = event { break }
                    }
                    continuation.finish()
                } catch {
                    continuation.finish(throwing: error)
                }
            }
        }
    }

    private func begin(_ wishes: Wishes, _ cancel: Cancel, _ begin: Begin) throws {
        var sampler = LemmySamplerOptions()
        _ = lemmy_sampler_options_init(&sampler, sizeOf(LemmySamplerOptions.self))
        if let temperature = wishes.temperature { sampler.temperature = temperature }
        var options = LemmyGenerateOptions()
        _ = lemmy_generate_options_init(&options, sizeOf(LemmyGenerateOptions.self))
        if let maxTokens = wishes.maxTokens { options.max_tokens = maxTokens }
        if let seed = wishes.seed { options.seed = seed }
        options.thinking = wishes.thinking ? 1 : 0
        options.cancel = cancel.handle
        try withUnsafePointer(to: &sampler) { sampler in
            options.sampler = sampler
            try check { begin(handle, &options, $0) }
        }
    }

    /// The next event that this package knows.
    private func next() throws -> Event? {
        var raw = LemmyEvent()
        while true {
            raw.struct_size = sizeOf(LemmyEvent.self)
            try check { lemmy_session_next(handle, &raw, $0) }
            if let event = Event(raw) { return event }
        }
    }
}

/// Stops a reply from any thread.
private final class Cancel: @unchecked Sendable {
    let handle = lemmy_cancel_new()

    func trigger() { lemmy_cancel_trigger(handle) }

    deinit { lemmy_cancel_release(handle) }
}
