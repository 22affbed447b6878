// Why this exists: cookies belong to a host name whatever the port, so that two dashboards of one machine would sign each other out; each
// names its cookies by itself.
using System.Security.Cryptography;

namespace CoCLR.Dashboard.Authentication;

/// <summary>A short id of this dashboard, which stays the same after a restart.</summary>
internal static class InstanceId
{
    /// <summary>The id that is kept in a data folder; made when there is none.</summary>
    public static string Of(string dataFolder)
    {
        string path = Path.Combine(dataFolder, "instance");
        if (File.Exists(path) && File.ReadAllText(path).Trim() is { Length: 8 } known && known.All(char.IsAsciiHexDigitLower))
        {
            return known;
        }

        Directory.CreateDirectory(dataFolder);
        string id = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(4));
        File.WriteAllText(path, id);
        return id;
    }
}
