// Why this exists: the image operations must be Pillow's, level by level, or no result compares with the reference's.
using System.Runtime.InteropServices;
using System.Text.Json;
using CoCLR.Engine.Video.Augmentation;

namespace CoCLR.Engine.Tests.Augmentation;

public sealed class ImageOperationsGoldenTests
{
    private const int Width = 64;
    private const int Height = 48;

    public static TheoryData<string, int> Cases => new()
    {
        { "crop_7_5_40_30_bicubic_32", 1 },
        { "upscale_crop_0_0_20_20_bicubic_32", 1 },
        { "hflip", 0 },
        { "brightness_0.6", 1 },
        { "brightness_1.4", 1 },
        { "contrast_0.6", 1 },
        { "contrast_1.4", 1 },
        { "saturation_0.6", 1 },
        { "saturation_1.4", 1 },
        { "hue_-0.1", 2 },
        { "hue_0.1", 2 },
        { "gaussian_blur_radius_0.1", 1 },
        { "gaussian_blur_radius_1", 1 },
        { "gaussian_blur_radius_2", 1 },
        { "gray_channel1", 0 },
    };

    [Theory]
    [MemberData(nameof(Cases))]
    public void Golden_ImageOperation_IsPillows(string name, int tolerance)
    {
        var folder = GoldenFolder.Require("imageops");
        var input = File.ReadAllBytes(Path.Combine(folder, "input.bin"));
        var expected = File.ReadAllBytes(Path.Combine(folder, name + ".bin"));
        var actual = Run(name, input);
        Assert.Equal(expected.Length, actual.Length);
        var worst = 0;
        for (var i = 0; i < expected.Length; i++)
        {
            worst = Math.Max(worst, Math.Abs(expected[i] - actual[i]));
        }

        Assert.True(worst <= tolerance, $"{name}: {worst} levels away from Pillow.");
    }

    [Fact]
    public void Golden_EveryTensorOfTheFolder_IsChecked()
    {
        using var description = JsonDocument.Parse(File.ReadAllText(Path.Combine(GoldenFolder.Require("imageops"), "case.json")));
        var known = Cases.Select(c => c.Data.Item1).Append("input").Append("to_tensor_normalized_chw").ToHashSet();
        var named = description.RootElement.GetProperty("tensors").EnumerateObject().Select(t => t.Name);
        Assert.Empty(named.Except(known));
    }

    [Fact]
    public void Golden_Normalization_IsExact()
    {
        var folder = GoldenFolder.Require("imageops");
        var input = File.ReadAllBytes(Path.Combine(folder, "input.bin"));
        var expected = MemoryMarshal.Cast<byte, float>(File.ReadAllBytes(Path.Combine(folder, "to_tensor_normalized_chw.bin")));
        var actual = ImageOperations.Normalize(input);
        Assert.Equal(expected.Length, actual.Length);
        for (var i = 0; i < actual.Length; i++)
        {
            Assert.Equal(expected[i], actual[i], 2e-6f);
        }
    }

    private static byte[] Run(string name, byte[] input)
    {
        var value = name.Split('_')[^1];
        float Number() => float.Parse(value, System.Globalization.CultureInfo.InvariantCulture);
        return name.Split('_')[0] switch
        {
            "crop" => ImageOperations.CropResize(input, Width, Height, new CropBox(7, 5, 40, 30), 32),
            "upscale" => ImageOperations.CropResize(input, Width, Height, new CropBox(0, 0, 20, 20), 32),
            "hflip" => ImageOperations.HorizontalFlip(input, Width),
            "brightness" => ImageOperations.Adjust(input, ColorOperation.Brightness, Number()),
            "contrast" => ImageOperations.Adjust(input, ColorOperation.Contrast, Number()),
            "saturation" => ImageOperations.Adjust(input, ColorOperation.Saturation, Number()),
            "hue" => ImageOperations.Adjust(input, ColorOperation.Hue, Number()),
            "gaussian" => ImageOperations.GaussianBlur(input, Width, Height, Number()),
            "gray" => ImageOperations.KeepChannel(input, 1),
            _ => throw new ArgumentException($"No operation for {name}."),
        };
    }
}
