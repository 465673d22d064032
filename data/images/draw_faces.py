# draw_faces.py INTO COUNT PART PARTS PACKAGE...: synthetic faces in the form of CelebA.
# Writes to INTO/img_align_celeba those of COUNT faces whose number leaves PART over PARTS; PART 0 also writes the
# lists. PACKAGEs are the unpacked wheels dicebear-core, dicebear-schema and dicebear-styles. Face i is the same
# however many there are. Needs librsvg and cairo.
import ctypes
import json
import os
import random
import sys
import types

WIDTH, HEIGHT = 178, 218  # as CelebA's

LONG = ('bigHair bob bun curly curvy frida froBand longButNotTooLong miaWallace straight01 straight02 '
        'straightAndStrand').split()
SHORT = ('dreads01 dreads02 frizzle shaggyMullet shortCurly shortFlat shortRound shortWaved sides theCaesar '
         'theCaesarAndSidePart').split()
EITHER = 'dreads fro shaggy shavedSides'.split()
DOWN = 'bigHair curly curvy dreads longButNotTooLong miaWallace straight01 straight02 straightAndStrand'.split()
HATS = 'hat winterHat02 winterHat03 winterHat04 winterHat1'.split()
HAIR = {  # share and colours
    'Black_Hair': (0.27, ['#2c1b18']),
    'Brown_Hair': (0.30, ['#724133', '#4a312c', '#a55728']),
    'Blond_Hair': (0.25, ['#b58143', '#d6b370', '#ecdcbf']),
    'Gray_Hair': (0.09, ['#e8e1e1']),
    'Red_Hair': (0.09, ['#c93305']),
}
SKIN = ['#614335', '#ae5d29', '#d08b5b', '#edb98a', '#ffdbb4']
GLASSES = 'kurt prescription01 prescription02 round sunglasses wayfarers'.split()
BEARDS = 'beardLight beardMajestic beardMedium'.split()
MOUSTACHES = 'moustacheFancy moustacheMagnum'.split()
SMILES = 'smile twinkle'.split()
OTHER_MOUTHS = 'concerned disbelief grimace sad screamOpen serious'.split()
OPEN_EYES = 'default happy surprised side'.split()
CLOTHES = ('blazerAndShirt blazerAndSweater collarAndSweater hoodie overall shirtCrewNeck shirtScoopNeck '
           'shirtVNeck').split()
COLOURS = ['#262e33', '#65c9ff', '#5199e4', '#25557c', '#929598', '#a7ffc4', '#ffafb9', '#ffffb1', '#ff488e', '#ff5c5c']
BACKGROUNDS = ['#b6c7d6', '#d9d2c5', '#9fb59a', '#cfa9a0', '#8c8fa8', '#e9e4da']

ATTRIBUTES = ['Male', *HAIR, 'Long_Hair', 'Wearing_Hat', 'Eyeglasses', 'Mustache', 'No_Beard', 'Smiling', 'Pale_Skin',
              'Dark_Skin']


class Face:
    """Face `number`: options of the style, the background, and what is true of it."""

    def __init__(self, number):
        self.draws = random.Random(f'face {number}')
        true = set()
        male = self.chance(0.5)
        if male:
            true.add('Male')
        if self.chance(0.12):
            top = self.one_of(HATS)
            true.add('Wearing_Hat')
        elif self.chance(0.1):
            top = self.one_of(EITHER)
        else:
            top = self.one_of(SHORT if male else LONG)
        if top in DOWN:
            true.add('Long_Hair')
        hair, colour = self.hair()
        if top not in HATS:
            true.add(hair)
        skin = self.one_of(SKIN)
        if skin == SKIN[-1]:
            true.add('Pale_Skin')
        if skin in SKIN[:2]:
            true.add('Dark_Skin')
        beard = None
        if male and self.chance(0.5):
            beard = self.one_of(BEARDS + MOUSTACHES)
            if beard in MOUSTACHES:
                true.add('Mustache')
        if beard not in BEARDS:
            true.add('No_Beard')
        glasses = self.one_of(GLASSES) if self.chance(0.3) else None
        if glasses:
            true.add('Eyeglasses')
        smiling = self.chance(0.5)
        if smiling:
            true.add('Smiling')
        self.background = self.one_of(BACKGROUNDS)
        self.options = {
            'seed': f'face {number}', 'topVariant': top, 'hairColor': colour, 'facialHairColor': colour,
            'skinColor': skin, 'hatColor': self.one_of(COLOURS),
            'facialHairProbability': 100 if beard else 0, 'facialHairVariant': beard or BEARDS[0],
            'accessoriesProbability': 100 if glasses else 0, 'accessoriesVariant': glasses or GLASSES[0],
            'accessoriesColor': COLOURS[0], 'mouthVariant': self.one_of(SMILES if smiling else OTHER_MOUTHS),
            'eyesVariant': self.one_of(OPEN_EYES), 'eyebrowsVariant': self.one_of(['default', 'defaultNatural', 'upDown']),
            'clothesVariant': self.one_of(CLOTHES), 'clothesColor': self.one_of(COLOURS),
        }
        self.row = [name in true for name in ATTRIBUTES]

    # Of Python's random numbers, those of random() are the same in every version.
    def chance(self, share):
        return self.draws.random() < share

    def one_of(self, things):
        return things[int(self.draws.random() * len(things))]

    def hair(self):
        at = self.draws.random()
        for name, (share, colours) in HAIR.items():
            at -= share
            if at < 0:
                break
        return name, self.one_of(colours)


def open_style(packages):
    """The class Avatar and the style, without the check of definitions against a schema: they are pinned, and what
    checks them comes as machine code."""
    class Unchecked:
        def __init__(self, *_, **__):
            pass

        def iter_errors(self, _):
            return iter(())

    schema, errors = types.ModuleType('jsonschema'), types.ModuleType('jsonschema.exceptions')
    schema.Draft7Validator, errors.ValidationError = Unchecked, Exception
    sys.modules.update({'jsonschema': schema, 'jsonschema.exceptions': errors})
    sys.path[:0] = packages
    import dicebear
    from importlib.resources import files
    definition = json.loads(files('dicebear_styles').joinpath('avataaars.json').read_text('utf-8'))
    return dicebear.Avatar, dicebear.Style(definition)


class Rectangle(ctypes.Structure):
    _fields_ = [(name, ctypes.c_double) for name in ('x', 'y', 'width', 'height')]


class Painter:
    """SVG to PNG files."""

    def __init__(self):
        pointer, integer, real = ctypes.c_void_p, ctypes.c_int, ctypes.c_double
        calls = {
            'libcairo.so.2': {
                'cairo_image_surface_create': (pointer, integer, integer, integer), 'cairo_create': (pointer, pointer),
                'cairo_set_source_rgb': (None, pointer, real, real, real), 'cairo_paint': (None, pointer),
                'cairo_surface_write_to_png': (integer, pointer, ctypes.c_char_p), 'cairo_destroy': (None, pointer),
                'cairo_surface_destroy': (None, pointer)},
            'librsvg-2.so.2': {
                'rsvg_handle_new_from_data': (pointer, ctypes.c_char_p, ctypes.c_size_t, pointer),
                'rsvg_handle_render_document': (integer, pointer, pointer, pointer, pointer)},
            'libgobject-2.0.so.0': {'g_object_unref': (None, pointer)},
        }
        for library, functions in calls.items():
            try:
                loaded = ctypes.CDLL(library)
            except OSError:
                sys.exit(f'error: no {library}, which draws the faces: install the Debian package librsvg2-2')
            for name, (result, *arguments) in functions.items():
                function = getattr(loaded, name)
                function.restype, function.argtypes = result, arguments
                setattr(self, name, function)

    def paint(self, svg, background, path):
        surface = self.cairo_image_surface_create(1, WIDTH, HEIGHT)  # 1: colours without opacity
        context = self.cairo_create(surface)
        self.cairo_set_source_rgb(context, *(int(background[at:at + 2], 16) / 255 for at in (1, 3, 5)))
        self.cairo_paint(context)
        data = svg.encode()
        drawing = self.rsvg_handle_new_from_data(data, len(data), None)
        square = Rectangle(0, (HEIGHT - WIDTH) / 2, WIDTH, WIDTH)
        if not drawing or not self.rsvg_handle_render_document(drawing, context, ctypes.byref(square), None):
            sys.exit(f'error: {path}: librsvg cannot draw it')
        self.g_object_unref(drawing)
        if self.cairo_surface_write_to_png(surface, os.fsencode(path)) != 0:
            sys.exit(f'error: {path}: cannot be written')
        self.cairo_destroy(context)
        self.cairo_surface_destroy(surface)


def write_lists(into, count):
    with open(os.path.join(into, 'list_attr_celeba.txt'), 'w') as attributes, \
            open(os.path.join(into, 'list_eval_partition.txt'), 'w') as parts:
        print(count, file=attributes)
        print(*ATTRIBUTES, file=attributes)
        for number in range(count):
            name = f'{number + 1:06}.png'
            print(name, *(1 if value else -1 for value in Face(number).row), file=attributes)
            # Of eight, five are for training, one for validation, two for the test.
            print(name, (0, 0, 0, 0, 0, 1, 2, 2)[number % 8], file=parts)


def main():
    into, count, part, parts = sys.argv[1], *(int(value) for value in sys.argv[2:5])
    if sys.version_info < (3, 10):
        sys.exit('error: Python %d.%d: expected 3.10 or later, which DiceBear needs' % sys.version_info[:2])
    painter = Painter()
    avatar, style = open_style(sys.argv[5:])
    for number in range(part, count, parts):
        face = Face(number)
        painter.paint(avatar(style, face.options).to_string(), face.background,
                      os.path.join(into, 'img_align_celeba', f'{number + 1:06}.png'))
    if part == 0:
        write_lists(into, count)


main()
