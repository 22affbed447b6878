// Why this exists: cuDNN's switch is reached by a C++ name; a libtorch that renames it must be noticed here and not as a slow training.
namespace CoCLR.Engine.Tests;

public sealed class TorchRuntimeTests
{
    [Fact]
    public void CudnnBenchmark_IsSwitchedInTheLoadedLibrary()
    {
        Assert.True(TorchRuntime.SetCudnnBenchmark(true));
        Assert.False(TorchRuntime.SetCudnnBenchmark(false));
    }
}
