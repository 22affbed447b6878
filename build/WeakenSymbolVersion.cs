// Why this exists: TorchSharp's libLibTorchSharp.so asks for the symbol version GLIBCXX_3.4.32 (GCC 13), which Debian 12 and
// Ubuntu 22.04 lack, for one symbol that is never called. Marking that version need and that symbol weak in the build's own
// copy lets the loader go on. See docs/native-library.md. Compiled by MSBuild (build/TorchNative.targets) and by the tests.
#nullable enable
#pragma warning disable IDE0005 // MSBuild compiles this file without the SDK's implicit usings
using System;
using System.IO;
using System.Linq;
using System.Text;
#pragma warning restore IDE0005

namespace CoCLR.Build;

/// <summary>Marks one version need, and the undefined symbols bound to it, weak in a 64-bit little-endian ELF image.</summary>
public static class WeakenSymbolVersion
{
    /// <summary>The symbol version that older C++ runtimes lack.</summary>
    public const string MissingVersion = "GLIBCXX_3.4.32";

    private const ushort VersionFlagWeak = 2;       // VER_FLG_WEAK
    private const uint SectionTypeDynSym = 11;      // SHT_DYNSYM
    private const uint SectionTypeVerNeed = 0x6ffffffe; // SHT_GNU_verneed
    private const uint SectionTypeVerSym = 0x6fffffff;  // SHT_GNU_versym

    /// <summary>Edits <paramref name="image"/> in place.</summary>
    /// <param name="image">The bytes of a 64-bit little-endian ELF shared object.</param>
    /// <param name="version">The symbol version to weaken, such as GLIBCXX_3.4.32.</param>
    /// <returns>How many entries (version needs and symbols) were changed; 0 when the version is not needed or already weak.</returns>
    /// <exception cref="InvalidDataException">The image is no 64-bit little-endian ELF file or is cut off.</exception>
    public static int Apply(byte[] image, string version)
    {
        if (image.Length < 64 || image[0] != 0x7f || image[1] != 'E' || image[2] != 'L' || image[3] != 'F' || image[4] != 2
            || image[5] != 1)
        {
            throw new InvalidDataException("not a 64-bit little-endian ELF file");
        }

        try
        {
            return Edit(image, version);
        }
        catch (Exception e) when (e is ArgumentException || e is IndexOutOfRangeException || e is OverflowException)
        {
            throw new InvalidDataException("the ELF file is cut off or damaged", e);
        }
    }

    private static int Edit(byte[] image, string version)
    {
        long sections = Int64(image, 0x28);
        int sectionSize = BitConverter.ToUInt16(image, 0x3a);
        int sectionCount = BitConverter.ToUInt16(image, 0x3c);
        (long Offset, long Size, int Link, int Info) dynSym = default, verNeed = default, verSym = default;
        for (int i = 0; i < sectionCount; i++)
        {
            int at = checked((int)(sections + ((long)i * sectionSize)));
            var section = (
                Int64(image, at + 0x18),
                Int64(image, at + 0x20),
                BitConverter.ToInt32(image, at + 0x28),
                BitConverter.ToInt32(image, at + 0x2c));
            switch (BitConverter.ToUInt32(image, at + 4))
            {
                case SectionTypeDynSym: dynSym = section; break;
                case SectionTypeVerNeed: verNeed = section; break;
                case SectionTypeVerSym: verSym = section; break;
            }
        }

        if (verNeed.Size == 0 || dynSym.Size == 0 || verSym.Size == 0)
        {
            return 0;
        }

        long strings = Int64(image, checked((int)(sections + ((long)verNeed.Link * sectionSize) + 0x18)));
        int changed = 0;
        int need = checked((int)verNeed.Offset);
        for (int n = 0; n < verNeed.Info; n++)
        {
            int aux = need + BitConverter.ToInt32(image, need + 8);
            int auxCount = BitConverter.ToUInt16(image, need + 2);
            for (int a = 0; a < auxCount; a++)
            {
                if (Text(image, checked((int)(strings + BitConverter.ToUInt32(image, aux + 8)))) == version)
                {
                    ushort flags = BitConverter.ToUInt16(image, aux + 4);
                    if ((flags & VersionFlagWeak) == 0)
                    {
                        image[aux + 4] = (byte)(flags | VersionFlagWeak);
                        changed++;
                    }

                    changed += WeakenSymbols(image, dynSym.Offset, dynSym.Size, verSym.Offset, BitConverter.ToUInt16(image, aux + 6));
                }

                aux += BitConverter.ToInt32(image, aux + 12);
            }

            need += BitConverter.ToInt32(image, need + 12);
        }

        return changed;
    }

    private static int WeakenSymbols(byte[] image, long symbols, long size, long versions, ushort versionIndex)
    {
        int changed = 0;
        for (int s = 0; s < size / 24; s++)
        {
            int symbol = checked((int)(symbols + (s * 24)));
            bool undefined = BitConverter.ToUInt16(image, symbol + 6) == 0;
            if (undefined && (BitConverter.ToUInt16(image, checked((int)(versions + (s * 2)))) & 0x7fff) == versionIndex
                && image[symbol + 4] >> 4 == 1)
            {
                image[symbol + 4] = (byte)((2 << 4) | (image[symbol + 4] & 0xf)); // STB_GLOBAL to STB_WEAK
                changed++;
            }
        }

        return changed;
    }

    private static long Int64(byte[] image, int at) => BitConverter.ToInt64(image, at);

    private static string Text(byte[] image, int at)
    {
        int end = Array.IndexOf(image, (byte)0, at);
        return Encoding.ASCII.GetString(image, at, end - at);
    }
}

#if !COCLR_TESTS // the tests link this file without MSBuild
/// <summary>Writes a copy of TorchSharp's native library that loads on machines whose C++ runtime lacks GLIBCXX_3.4.32.</summary>
public sealed class WeakenSymbolVersionTask : Microsoft.Build.Utilities.Task
{
    /// <summary>The packaged library.</summary>
    [Microsoft.Build.Framework.Required]
    public string Source { get; set; } = "";

    /// <summary>Where the copy goes; appears whole or not at all.</summary>
    [Microsoft.Build.Framework.Required]
    public string Destination { get; set; } = "";

    /// <summary>auto (only where the machine lacks the version), always, or never.</summary>
    public string Mode { get; set; } = "auto";

    /// <inheritdoc/>
    public override bool Execute()
    {
        byte[] image = File.ReadAllBytes(Source);
        bool needed = Mode == "always" || (Mode == "auto" && !MachineHasVersion());
        int changed = needed ? WeakenSymbolVersion.Apply(image, WeakenSymbolVersion.MissingVersion) : 0;
        Directory.CreateDirectory(Path.GetDirectoryName(Destination)!);
        string temporary = Destination + "." + Guid.NewGuid().ToString("N");
        File.WriteAllBytes(temporary, image);
        if (File.Exists(Destination))
        {
            File.Delete(Destination); // a hard link of an output folder keeps the old bytes
        }

        File.Move(temporary, Destination);
        Log.LogMessage(
            Microsoft.Build.Framework.MessageImportance.Normal,
            "libLibTorchSharp.so: {0} entries marked weak ({1})",
            changed,
            needed ? "this machine lacks " + WeakenSymbolVersion.MissingVersion : "not needed here");
        return true;
    }

    private static bool MachineHasVersion()
    {
        string[] folders = { "/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/lib64", "/lib64", "/usr/lib", "/usr/local/lib64" };
        string? library = folders.Select(f => Path.Combine(f, "libstdc++.so.6")).FirstOrDefault(File.Exists);
        return library != null && Encoding.ASCII.GetString(File.ReadAllBytes(library)).Contains(WeakenSymbolVersion.MissingVersion);
    }
}
#endif
