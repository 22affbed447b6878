// Why this exists: GPU metrics must be of the GPU that trains, and their absence must never disturb a training.
using static TorchSharp.torch;

namespace CoCLR.Engine.Tests;

public sealed class GpuMeterTests
{
    [Theory]
    [InlineData(null, 1, "1")]
    [InlineData("", 0, "0")]
    [InlineData("3", 0, "3")]
    [InlineData("2,5", 1, "5")]
    [InlineData("GPU-8f4a, GPU-11", 1, "GPU-11")]
    [InlineData("4", 2, "2")]
    public void Visible_IsTheDriversNameOfACudaDevice(string? variable, int index, string name) =>
        Assert.Equal(name, GpuMeter.Visible(variable, index));

    [Fact]
    public void Open_ForAProcessor_OrWithoutTheDriversLibrary_IsNull()
    {
        Assert.Null(GpuMeter.Open(CPU));
        Assert.Null(GpuMeter.Open(["libno-such-driver.so.1"], "0"));
    }

    [Fact]
    public void Open_OfALibraryWithoutTheFunctions_IsNull() => Assert.Null(GpuMeter.Open(["libc.so.6"], "0"));
}
