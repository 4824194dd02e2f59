/** @file Word lists of the generators. */

const list = (words: string): readonly string[] => words.split(/\s+/).filter((word) => word !== "");

/** Common English given names. */
export const givenNames: readonly string[] = list(`
  Aaron Adam Alan Albert Alex Alice Amanda Amy Andrea Andrew Angela Anna Anne Anthony Arthur Barbara Ben Benjamin
  Brandon Brian Bruce Carl Carlos Carol Caroline Catherine Charles Charlotte Chris Christian Christine Christopher Claire
  Clara Daniel David Deborah Dennis Diana Donald Donna Dorothy Douglas Dylan Edward Elena Elizabeth Emily Emma Eric Eva
  Frank Fred Gary George Grace Greg Hannah Harold Harry Heather Helen Henry Howard Jack Jacob James Jane Janet Jason
  Jeff Jennifer Jeremy Jerry Jessica Jim Joan Joe John Jonathan Jordan Joseph Joshua Juan Judith Julia Julie Justin
  Karen Kate Katherine Keith Kelly Kenneth Kevin Kim Kyle Larry Laura Lauren Lawrence Leo Linda Lisa Louis Lucy Luke
  Margaret Maria Marie Mark Martha Martin Mary Matthew Max Melissa Michael Michelle Mike Nancy Nathan Neil Nicholas
  Nicole Olivia Oscar Pamela Patricia Patrick Paul Peter Philip Rachel Ralph Raymond Rebecca Richard Robert Robin Roger
  Ronald Rose Russell Ruth Ryan Sam Samantha Samuel Sandra Sara Sarah Scott Sean Sharon Simon Sophia Sophie Stephanie
  Stephen Steve Steven Susan Tanya Taylor Teresa Thomas Tim Timothy Todd Tom Tony Victor Victoria Vincent Walter Wendy
  William Zoe`);

/** Places that two people can go to. */
export const places: readonly string[] = list(`
  store school park garden library station market office hospital museum beach restaurant bank church farm hotel`);

/** Things that one person can hand to another; each goes with the article "a". */
export const objects: readonly string[] = list(`
  drink book ring gift letter ball map key coat bag pen ticket watch phone camera flower`);

/** What can last for years. */
export const durations: readonly string[] = list(`
  war siege voyage dispute reign campaign conflict project program expedition journey study trial strike debate
  mission contract treaty crisis drought plague rebellion revolution tour marriage partnership famine peace boom feud`);

/** Short nouns that serve as parameter names and as prose of a docstring. */
export const nouns: readonly string[] = list(`
  air apple arm army art author band bank base bed bird boat body bone book bottle box bread bridge brother cake camera
  card cat cell chain chair child church circle city class cloud coat coffee color corn cost cotton country crime crop
  cup dance data desk dinner doctor dog door dress dust ear earth edge engine event eye face farm father field file
  film finger fire fish floor flower food foot forest friend fruit game garden gas gate gift glass gold grass group
  guest hair hall hand hat heart heat hill history home horse hotel hour house ice image iron island job king kitchen
  lady lake land law leaf leg letter level library light line list load lock market meal metal milk mine month moon
  mother mountain mouth music name neck night noise nose oil order page paint paper park party path piece plant plate
  police port power price queen rain ring river road rock roof room rule salt sand school sea season seed shape ship
  shirt shoe shop silver size skin sky snow song sound speed spring star state station steel step stone storm street
  sugar summer sun table tail test tooth town track train tree unit valley voice wall war watch water week wheel wind
  window wing winter wood word work year`);
