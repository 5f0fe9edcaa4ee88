import CLemmy

/// A call that failed.
public struct LemmyError: Error, CustomStringConvertible {
    /// LEMMY_E_*.
    public let code: Int32
    /// Its name, for instance "ContextFull".
    public let name: String
    /// What was found and what was expected.
    public let message: String

    public var description: String { "\(name): \(message)" }
}

/// Makes a call whose last argument is an error; throws what it says.
func check(_ call: (UnsafeMutablePointer<OpaquePointer?>) -> LemmyStatus) throws {
    var error: OpaquePointer?
    let status = call(&error)
    guard status != LEMMY_OK else { return }
    defer { lemmy_error_free(error) }
    throw LemmyError(
        code: status,
        name: String(cString: lemmy_status_name(status)),
        message: String(cString: lemmy_error_message(error))
    )
}

/// Makes a call that makes an object.
func make(
    _ call: (UnsafeMutablePointer<OpaquePointer?>, UnsafeMutablePointer<OpaquePointer?>) -> LemmyStatus
) throws -> OpaquePointer {
    var object: OpaquePointer?
    try check { call(&object, $0) }
    guard let object else { preconditionFailure("success without an object") }
    return object
}

/// The library's size of a struct.
func sizeOf<T>(_: T.Type) -> Int { MemoryLayout<T>.stride }
