// Why this exists: real videos may not be distributed with the project; tests use them where they lie beside the checkout.
using System.Runtime.CompilerServices;

namespace CoCLR.Engine.Tests.Video;

internal static class RealData
{
    /// <summary>A data set beside the checkout (or below COCLR_TEST_DATA_DIR); skips the test when it is not there.</summary>
    public static string Folder(string name, [CallerFilePath] string here = "")
    {
        var root = Environment.GetEnvironmentVariable("COCLR_TEST_DATA_DIR")
            ?? Path.GetFullPath(Path.Combine(Path.GetDirectoryName(here)!, "..", "..", "..", "..", "shared", "data"));
        var folder = Path.Combine(root, name);
        if (!Directory.Exists(folder))
        {
            Assert.Skip($"The real videos {folder} are not here.");
        }

        return folder;
    }
}
