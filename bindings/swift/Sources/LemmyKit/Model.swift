import CLemmy

/// A loaded model. May be used by many tasks at once.
public final class Model: @unchecked Sendable {
    let handle: OpaquePointer

    /// Loads a model file, which takes seconds: call it off the main thread. `mmproj`: the file with its vision tower.
    public init(path: String, mmproj: String? = nil) throws {
        let abi = lemmy_abi_version()
        let fits = abi >> 16 == LEMMY_ABI_MAJOR && abi & 0xffff >= LEMMY_ABI_MINOR
        precondition(fits, "the library does not fit its header")
        var options = LemmyModelOptions()
        _ = lemmy_model_options_init(&options, sizeOf(LemmyModelOptions.self))
        handle = try withOptionalCString(mmproj) { mmproj in
            options.mmproj_path = mmproj
            return try make { lemmy_model_load(path, &options, $0, $1) }
        }
    }

    deinit { lemmy_model_release(handle) }

    /// A conversation. `tools` is a JSON array as OpenAI's interface has it; `context` the tokens that it can hold.
    public func session(system: String? = nil, tools: String? = nil, context: UInt64? = nil) throws -> Session {
        var options = LemmySessionOptions()
        _ = lemmy_session_options_init(&options, sizeOf(LemmySessionOptions.self))
        if let context { options.context = context }
        let session = try withOptionalCString(system) { systemText in
            try withOptionalCString(tools) { toolsText in
                options.system = systemText
                options.system_len = system?.utf8.count ?? 0
                options.tools_json = toolsText
                options.tools_len = tools?.utf8.count ?? 0
                return try make { lemmy_session_new(handle, &options, $0, $1) }
            }
        }
        return Session(handle: session)
    }
}

func withOptionalCString<Result>(
    _ text: String?, _ body: (UnsafePointer<CChar>?) throws -> Result
) rethrows -> Result {
    guard let text else { return try body(nil) }
    return try text.withCString(body)
}
