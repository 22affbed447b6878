// Why this exists: tests make tensors before they touch the engine, which must have loaded its libtorch by then.
using System.Runtime.CompilerServices;

namespace CoCLR.Engine.Tests;

internal static class LoadTorch
{
    [ModuleInitializer]
    internal static void Load() => TorchRuntime.Initialize();
}
