// swift-tools-version:5.9
import PackageDescription

// The C library is found by pkg-config: PKG_CONFIG_PATH=.../target/dist/lib/pkgconfig swift build
let package = Package(
    name: "LemmyKit",
    platforms: [.macOS(.v12), .iOS(.v15)],
    products: [
        .library(name: "LemmyKit", targets: ["LemmyKit"]),
        .executable(name: "lemmy-ask", targets: ["lemmy-ask"]),
    ],
    targets: [
        .systemLibrary(name: "CLemmy", pkgConfig: "lemmy"),
        .target(name: "LemmyKit", dependencies: ["CLemmy"]),
        .executableTarget(name: "lemmy-ask", dependencies: ["LemmyKit"]),
    ]
)
