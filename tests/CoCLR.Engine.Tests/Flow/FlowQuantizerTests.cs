// Why this exists: one wrong rounding would shift every stored flow image.
using CoCLR.Engine.Flow;

namespace CoCLR.Engine.Tests.Flow;

public class FlowQuantizerTests
{
    [Theory]
    [InlineData(20, 0f, 128)]
    [InlineData(20, 20f, 255)]
    [InlineData(20, -20f, 0)]
    [InlineData(20, 1e9f, 255)]
    [InlineData(20, float.NegativeInfinity, 0)]
    [InlineData(20, 10f, 191)]
    [InlineData(1, 0f, 128)]
    [InlineData(1, 0.5f, 191)]
    [InlineData(127, 0f, 128)]
    [InlineData(127, 127f, 255)]
    public void Encode_OfADisplacement_IsItsByte(int bound, float flow, byte expected) =>
        Assert.Equal(expected, new FlowQuantizer(bound).Encode(flow));

    [Theory]
    [InlineData(1)]
    [InlineData(20)]
    [InlineData(127)]
    public void Encode_OfADecodedByte_IsTheByte(int bound)
    {
        var quantizer = new FlowQuantizer(bound);
        foreach (var value in Enumerable.Range(0, 256))
        {
            Assert.Equal(value, quantizer.Encode(quantizer.Decode((byte)value)));
        }
    }

    [Fact]
    public void Decode_OfAnEncodedDisplacement_IsAtMostHalfAStepOff()
    {
        var quantizer = new FlowQuantizer(20);
        for (var flow = -20f; flow <= 20f; flow += 0.013f)
        {
            // No motion has no byte of its own: 128 stands for it, so that its neighbours are up to a whole step off.
            var allowed = quantizer.Encode(flow) == 128 ? 40f / 255 : 20f / 255;
            Assert.InRange(Math.Abs(quantizer.Decode(quantizer.Encode(flow)) - flow), 0, allowed + 1e-5f);
        }
    }

    [Fact]
    public void Encode_OfAField_InterleavesUBeforeV()
    {
        var bytes = new byte[4];
        new FlowQuantizer(20).Encode([20f, 0f], [-20f, 10f], bytes);
        Assert.Equal([255, 0, 128, 191], bytes);

        var (u, v) = (new float[2], new float[2]);
        new FlowQuantizer(20).Decode(bytes, u, v);
        Assert.Equal([20f, 0f], u);
        Assert.Equal(-20f, v[0]);
    }

    [Fact]
    public void Encode_OfFieldsOfUnequalLength_Refuses() =>
        Assert.Throws<ArgumentException>(() => new FlowQuantizer(20).Encode([0f], [0f], new byte[3]));

    [Theory]
    [InlineData(255, 0, 0, 76)]
    [InlineData(0, 255, 0, 150)]
    [InlineData(0, 0, 255, 29)]
    [InlineData(255, 255, 255, 255)]
    [InlineData(10, 200, 30, 124)]
    public void Gray_OfRgb_IsOpenCvs(byte r, byte g, byte b, byte expected)
    {
        var gray = new byte[1];
        GrayImage.FromRgb([r, g, b], gray);
        Assert.Equal(expected, gray[0]);
    }
}
