// Why this exists: `coclr check` is trusted by people who rent a card for minutes: it must pass where all is well and find what is wrong,
// and be tested where no card is.
using CoCLR.Engine.Checks;
using static TorchSharp.torch;

namespace CoCLR.Engine.Tests.Checks;

public sealed class DeviceCheckTests
{
    [Theory]
    [InlineData("features", 12)]
    [InlineData("gradient, S3DMini", 3)]
    [InlineData("gradient, R2Plus1D18", 3)]
    [InlineData("loss", 4)]
    [InlineData("step, ", 12)]
    [InlineData("step's gradient", 4)]
    [InlineData("augmentation", 1)]
    [InlineData("TV-L1", 1)]
    [InlineData("evaluation", 3)]
    [InlineData("memory", 1)]
    public void OfTheProcessor_Passes(string part, int rows)
    {
        CheckRow[] found = Run(part, new DeviceCheck(CPU, small: true) { Only = name => name.StartsWith(part, StringComparison.Ordinal) });
        Assert.Equal(rows, found.Length);
        Assert.All(found, row => Assert.True(row.Passed, row.ToString()));
    }

    [Theory]
    [InlineData("features, S3DMini", 3)]
    [InlineData("gradient, S3DMini", 3)]
    [InlineData("step, InfoNCE", 3)]
    [InlineData("step's gradient, InfoNCE", 1)]
    [InlineData("evaluation: features, probe, recall", 3)]
    public void NetworkWithOneWrongLayer_IsFound_InEveryPrecision(string name, int rows)
    {
        CheckRow[] found = Run(name, new DeviceCheck(CPU, small: true) { Only = n => n == name, Spoil = OneWrongLayer });
        Assert.Equal(rows, found.Length);
        Assert.All(found, row => Assert.False(row.Passed, row.ToString()));
    }

    [Theory]
    [InlineData("loss, CoCLR", 1.001)]
    [InlineData("loss, InfoNCE", double.NaN)]
    [InlineData("augmentation, share of values off by more than two levels", 1.2)]
    [InlineData("TV-L1 flow, pixels", 1.5)]
    [InlineData("TV-L1 flow, pixels", double.NaN)]
    public void WrongNumbers_AreFound(string name, double factor)
    {
        CheckRow row =
            Assert.Single(Run(name, new DeviceCheck(CPU, small: true) { Only = n => n == name, Through = (_, result) => result * factor }));
        Assert.False(row.Passed, row.ToString());
    }

    [Fact]
    public void GrowingMemory_IsFound()
    {
        var kept = new List<Tensor>();
        try
        {
            CheckRow row = Assert.Single(Run("memory", new DeviceCheck(CPU, small: true)
            {
                Only = n => n.StartsWith("memory", StringComparison.Ordinal),
                Through = (_, loss) =>
                {
                    kept.Add(ones(1 << 18).DetachFromDisposeScope()); // 1 MiB a step
                    return loss;
                },
            }));
            Assert.False(row.Passed, row.ToString());
        }
        finally
        {
            kept.ForEach(t => t.Dispose());
        }
    }

    [Fact]
    public void AnErrorOfLibtorch_IsAFailedRow_WithItsFirstLine()
    {
        CheckRow row = Assert.Single(
            Run(
                "loss",
                new DeviceCheck(CPU, small: true) { Only = n => n == "loss, InfoNCE", Through = (_, result) => result.view(7, 7) }));
        Assert.False(row.Passed);
        Assert.Contains("shape '[7, 7]' is invalid", row.Note, StringComparison.Ordinal);
    }

    [Fact]
    public void AllocationThatIsTooLarge_IsAFullMemory_AndOtherErrorsAreNot()
    {
        using var scope = NewDisposeScope();
        Assert.True(DeviceMemory.IsFull(Assert.ThrowsAny<Exception>(() => empty([1L << 50]))));
        Assert.False(DeviceMemory.IsFull(Assert.ThrowsAny<Exception>(() => zeros(3).view(2, 2))));
#pragma warning disable CA2201 // As libtorch's errors arrive.
        Assert.True(
            DeviceMemory.IsFull(
                new System.Runtime.InteropServices.ExternalException(
                    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.11 GiB")));
#pragma warning restore CA2201
    }

    private static CheckRow[] Run(string part, DeviceCheck check)
    {
        CheckRow[] rows = [.. check.Run(TestContext.Current.CancellationToken)];
        Array.ForEach(rows, row => TestContext.Current.TestOutputHelper?.WriteLine($"{part}: {row}"));
        return rows;
    }

    private static void OneWrongLayer(nn.Module network)
    {
        using var frozen = no_grad();
        network.named_parameters().First(p => p.name.EndsWith("Conv_1a.bn2.weight", StringComparison.Ordinal)).parameter.mul_(-3);
    }
}
